"""The loop: every question is asked of every system, and what cannot have changed is not asked again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.core.loop import answered
from evals.core.ranking import Kept, Ranking, reciprocal_rank_fusion
from evals.core.task import Batch
from search_eval.golden import Question
from search_eval.metrics import Found
from tests.evals.laid import Laid, question, ranking


@dataclass
class TwoStates:
    root: Path
    name: str = "two"

    @property
    def questions(self) -> Sequence[Question]:
        return [question(1), question(2)]

    def batches(self) -> Iterator[Batch]:
        yield Batch("repo", self.root, "first", [question(1)])
        yield Batch("repo", self.root, "second", [question(2)])


ANSWERS = {"q-1": ranking(1), "q-2": ranking(3)}


def silent(line: str) -> None: ...


def test_every_question_is_asked_of_every_system_in_the_state_that_it_is_about(tmp_path: Path) -> None:
    one, other = Laid(ANSWERS, "one"), Laid(ANSWERS, "other")
    answers = answered(TwoStates(tmp_path), [one, other], None, Kept(tmp_path), silent)
    assert [q.id for q in answers.questions] == ["q-1", "q-2"]
    assert answers.rankings == {"one": ANSWERS, "other": ANSWERS}
    assert [batch.state for batch in one.prepared] == ["first", "second"]


def test_a_system_with_a_version_is_asked_once_and_one_without_each_time(tmp_path: Path) -> None:
    kept, changing = Laid(ANSWERS, "kept", "1"), Laid(ANSWERS, "changing")
    for _ in range(2):
        answers = answered(TwoStates(tmp_path), [kept, changing], None, Kept(tmp_path), silent)
        assert answers.rankings == {"kept": ANSWERS, "changing": ANSWERS}
    assert (kept.asked, changing.asked) == (["q-1", "q-2"], ["q-1", "q-2"] * 2)


def test_another_version_is_asked_anew(tmp_path: Path) -> None:
    for version in ("1", "2"):
        system = Laid(ANSWERS, "kept", version)
        answered(TwoStates(tmp_path), [system], None, Kept(tmp_path), silent)
        assert system.asked == ["q-1", "q-2"]


def test_a_question_that_is_worded_anew_is_asked_anew(tmp_path: Path) -> None:
    system = Laid(ANSWERS, "kept", "1")
    kept = Kept(tmp_path)
    before = Batch("repo", tmp_path, "first", [question(1)])
    kept.write(system, before, {"q-1": ranking(1)})
    after = Batch("repo", tmp_path, "first", [Question("q-1", "other words", question(1).gold)])
    assert kept.read(system, before) == {"q-1": ranking(1)}
    assert kept.read(system, after) == {}


def test_a_question_is_asked_anew_of_a_folder_in_another_state(tmp_path: Path) -> None:
    system, kept = Laid(ANSWERS, "kept", "1"), Kept(tmp_path)
    kept.write(system, Batch("repo", tmp_path, "first", [question(1)]), {"q-1": ranking(1)})
    assert kept.read(system, Batch("repo", tmp_path, "second", [question(1)])) == {}


def test_plain_fusion_is_what_the_formula_gives_by_hand() -> None:
    a, b, c = Found("a"), Found("b"), Found("c")
    # a: 1/61 + 1/63; b: 1/62 + 1/61; c: 1/62
    fused = reciprocal_rank_fusion([Ranking((a, b)), Ranking((b, c, a))])
    assert fused == [b, a, c]
    assert reciprocal_rank_fusion([Ranking((a,)), Ranking((b,))]) == [a, b]  # a tie keeps the first that came
