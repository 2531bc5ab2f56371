"""What of an arm is looked at: nothing that depends on the order in which a store was filled."""

import pytest

from rag_app.db.chunks import Found
from rag_app.features.search.candidates import without_cut_ties
from tests.support.chunks import make_chunk

CHUNKS = [make_chunk(f"{number}.py", "x") for number in range(5)]


def arm(*scores: float) -> list[Found]:
    return [Found(chunk, score) for chunk, score in zip(CHUNKS, scores, strict=False)]


@pytest.mark.parametrize(
    ("scores", "depth", "left"),
    [
        pytest.param([3, 2, 1, 1], 4, [3, 2], id="some of equal score may be behind the cut"),
        pytest.param([3, 2, 1, 1], 5, [3, 2, 1, 1], id="nothing is behind it"),
        pytest.param([3, 2, 1], 3, [3, 2], id="the last may have an equal, too"),
        pytest.param([1, 1, 1], 3, [1, 1, 1], id="all are equal"),
        pytest.param([3, 1, 1, 1], 4, [3, 1, 1, 1], id="two are wanted"),
        pytest.param([], 3, [], id="nothing was found"),
    ],
)
def test_equal_scores_at_a_cut_are_left_out_together(scores: list[float], depth: int, left: list[float]) -> None:
    assert [one.score for one in without_cut_ties(arm(*scores), depth, 2)] == left
