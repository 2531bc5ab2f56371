"""What `code-assistant tune` moves: the weights that its questions can tell of, over all of their bounds."""

from collections.abc import Mapping, Sequence

from rag_app.cli.tune_work import movable
from rag_app.features.search.kept import bounds
from rag_app.features.search.weights import Weights
from search_eval.coordinates import coordinate_search

TOLD = {name: {"lowest": low, "highest": high} for name, (low, high, _) in bounds().items()}


def test_what_the_questions_cannot_tell_of_is_not_moved() -> None:
    assert not {name for name in movable(TOLD) if name.endswith("_weight") or name == "per_file"}
    assert {"dense_share", "sure_factor", "prose_factor", "error_factor", "path_boost"} <= movable(TOLD).keys()


def test_what_does_nothing_in_this_stack_is_not_moved() -> None:
    assert movable(TOLD).keys() - movable(TOLD, ["rerank_share"]).keys() == {"rerank_share"}


def test_a_factor_may_come_to_lie_between_two_whole_numbers() -> None:
    tried: list[float] = []

    def score(weights: Mapping[str, float], questions: Sequence[int]) -> list[float]:
        tried.append(weights["sure_factor"])
        return [1 - abs(weights["sure_factor"] - 2.75) for _ in questions]

    found = coordinate_search(Weights().named(), movable(TOLD), 30, score, 100_000)
    assert found.weights["sure_factor"] == 2.75, sorted(set(tried))
