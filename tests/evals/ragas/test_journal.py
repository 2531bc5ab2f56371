from pathlib import Path

import pytest

from evals.ragas.journal import Journal, OtherRun
from evals.ragas.tape import BadTape

MADE_OF = {"judge": "m", "questions": "abc"}


def test_what_was_finished_is_there_again_and_a_torn_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    journal = Journal(path, MADE_OF)
    journal.finish({"id": "q1", "scores": {"faithfulness": 0.1 + 0.2}})
    journal.finish({"id": "q2", "scores": {}})
    path.write_bytes(path.read_bytes()[:-4])
    again = Journal(path, MADE_OF)
    assert again.done == {"q1": {"id": "q1", "scores": {"faithfulness": 0.1 + 0.2}}}
    again.finish({"id": "q2", "scores": {}})
    assert list(Journal(path, MADE_OF).done) == ["q1", "q2"]


def test_a_run_does_not_go_on_with_another_judge(tmp_path: Path) -> None:
    Journal(tmp_path / "questions.jsonl", MADE_OF)
    with pytest.raises(OtherRun, match=r"judge was 'm' and is 'n'"):
        Journal(tmp_path / "questions.jsonl", {**MADE_OF, "judge": "n"})


def test_a_run_that_was_killed_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(b'{"made_of": {"jud')
    Journal(path, MADE_OF).finish({"id": "q1"})
    assert list(Journal(path, MADE_OF).done) == ["q1"]


def test_a_damaged_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    Journal(path, MADE_OF)
    path.write_bytes(path.read_bytes() + b"no JSON\n")
    with pytest.raises(BadTape, match=r"questions\.jsonl:2"):
        Journal(path, MADE_OF)
