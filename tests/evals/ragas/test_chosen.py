import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.core.packages import Package
from evals.ragas.__main__ import REFERENCES
from evals.ragas.chosen import NothingChosen, given, ours, title, write
from evals.ragas.sets import read_references, read_sets
from evals.tasks.ours import Ours, Pinned
from search_eval.golden import BadQuestion, Gold, Question


def a_set(path: Path, *ids: str, **more: str) -> Path:
    rows = [{"id": one, "query": f"where is {one}?", "gold": [{"path": "a.py"}], **more} for one in ids]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_some_of_several_sets_are_taken_in_turns_and_keep_their_references(tmp_path: Path) -> None:
    sets = [a_set(tmp_path / "a.jsonl", "a-1", "a-2", "a-3"), a_set(tmp_path / "b.jsonl", "b-1", reference="In a.py.")]
    more = tmp_path / "more.jsonl"
    more.write_text('{"id": "a-2", "reference": "In b.py."}\n{"id": "z-9", "reference": "Not asked."}\n')
    sources = given(sets, [])
    assert write(tmp_path / "set.jsonl", sources, [more], first=3) == 3
    tasks = read_sets([tmp_path / "set.jsonl"])
    assert [(task.question.id, task.question.repository, task.reference) for task in tasks] == [
        ("a-1", "a", ""),
        ("b-1", "b", "In a.py."),
        ("a-2", "a", "In b.py."),
    ]
    assert title(sources) == "a, b"
    assert write(tmp_path / "referenced.jsonl", sources, [more], only_referenced=True) == 2


def test_a_run_that_goes_on_keeps_its_questions(tmp_path: Path) -> None:
    sources = given([a_set(tmp_path / "a.jsonl", "a-1", "a-2")], [])
    assert [write(tmp_path / "set.jsonl", sources, []) for _ in range(2)] == [2, 2]
    with pytest.raises(NothingChosen, match="other questions"):
        write(tmp_path / "set.jsonl", sources, [], first=1)
    assert len(read_sets([tmp_path / "set.jsonl"])) == 2


def test_a_set_without_its_folder_is_told(tmp_path: Path) -> None:
    sets = [a_set(tmp_path / "a.jsonl", "a-1"), a_set(tmp_path / "b.jsonl", "b-1")]
    with pytest.raises(NothingChosen, match="2 sets and 1 folders"):
        given(sets, [tmp_path])
    with pytest.raises(NothingChosen, match=r"no folder: .*nowhere"):
        given(sets[:1], [tmp_path / "nowhere"])
    with pytest.raises(NothingChosen, match="reference"):
        write(tmp_path / "set.jsonl", given(sets, []), [], only_referenced=True)


def test_an_id_in_two_sets_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadQuestion, match="a-1"):
        read_sets([a_set(tmp_path / "a.jsonl", "a-1"), a_set(tmp_path / "b.jsonl", "a-1")])


def test_our_references_are_for_questions_of_the_development_half(tmp_path: Path) -> None:
    sources = ours("development", "", tmp_path, print, fetch=False)
    asked = {task.question.id for source in sources for task in source.tasks}
    references = read_references(REFERENCES)
    assert len(references) >= 12
    assert references.keys() <= asked


def test_the_halves_do_not_meet_and_a_package_of_the_other_half_is_told(tmp_path: Path) -> None:
    development, held_out = (ours(half, "", tmp_path, print, fetch=False) for half in ("development", "held-out"))
    assert not {one.repository for one in development} & {one.repository for one in held_out}
    with pytest.raises(NothingChosen, match="development half"):
        ours("development", held_out[0].repository.removeprefix("ours-"), tmp_path, print, fetch=False)
    known = development[0].repository.removeprefix("ours-")
    with pytest.raises(NothingChosen, match="none of nope is"):
        ours("development", f"{known},nope", tmp_path, print, fetch=False)
    with pytest.raises(NothingChosen, match="no half"):
        ours("both", "", tmp_path, print, fetch=False)


def test_a_package_is_the_same_repository_with_the_same_files_asked_live_or_replayed_and_in_make_eval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = Question("p-1", "how?", (Gold("vendor/p.c"),))
    fetch = Package("p", "1", "p-1.tgz", "00", ("",), ("true",), "")
    pinned = Pinned("p", "development", "c", "npm", fetch, (question,), include=("vendor/**",))
    monkeypatch.setattr("evals.ragas.chosen.packages", lambda: [pinned])
    monkeypatch.setattr("evals.tasks.ours.unpacked", lambda packages, cache, say: [tmp_path])
    [live] = ours("development", "", tmp_path, print, fetch=True)
    [replayed] = ours("development", "", tmp_path, print, fetch=False)
    [batch] = Ours([pinned], tmp_path, print).batches()
    assert live.repository == replayed.repository == batch.repository
    assert live.tasks == replayed.tasks
    assert live.batch == replace(batch, questions=())


def test_every_package_of_ragas_environment_is_pinned() -> None:
    lines = REFERENCES.with_name("requirements.txt").read_text("utf-8").splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert "ragas==0.4.3" in packages
    assert [line for line in packages if "==" not in line] == []
