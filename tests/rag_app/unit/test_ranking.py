"""Fusion, weights, boosts and the spread over files: values in, values out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_app.core.models import Chunk, Hit
from rag_app.features.search.ranking import (
    Candidate,
    Ranked,
    boosted,
    by_name,
    convex,
    is_called,
    is_quotable,
    merge,
    quoted,
    spread,
    weighted,
)
from tests.support.chunks import make_chunk

A, B, C, D = (make_chunk(f"{name}.py", name) for name in "abcd")


def ids(ranked: Sequence[Ranked]) -> list[Chunk]:
    return [one.candidate.chunk for one in ranked]


def test_one_candidate_a_chunk_with_what_each_arm_gave_it() -> None:
    merged = merge([(A, 0.9), (B, 0.5)], [(B, 12.0), (C, 3.0)])
    assert merged == [
        Candidate(A, 0.9, None, {"dense_rank": 1}),
        Candidate(B, 0.5, 12.0, {"dense_rank": 2, "sparse_rank": 1}),
        Candidate(C, None, 3.0, {"sparse_rank": 2}),
    ]


def test_the_fused_score_is_the_convex_combination_of_what_lies_between_floor_and_ceiling() -> None:
    (one,) = convex([Candidate(A, 0.55, 5.0)], dense_share=0.6, sparse_ceiling=20.0, dense_floor=0.1)
    assert one.score == pytest.approx(0.6 * 0.5 + 0.4 * 0.25)
    assert one.parts["dense_part"] == pytest.approx(0.5)
    assert one.parts["sparse_part"] == pytest.approx(0.25)


def test_an_arm_that_lacks_a_candidate_gives_it_its_floor() -> None:
    ranked = convex([Candidate(A, 0.5, None), Candidate(B, 0.5, 1.0), Candidate(C, 0.05, None)], 0.5, 10.0)
    assert ids(ranked) == [B, A, C]
    assert ranked[2].score == 0.0


def test_a_candidate_more_or_less_moves_no_score() -> None:
    few = convex([Candidate(A, 0.4, 3.0)], 0.7, 10.0)
    many = convex([Candidate(A, 0.4, 3.0), Candidate(B, 0.9, 9.0)], 0.7, 10.0)
    assert few[0].score == next(one.score for one in many if one.candidate.chunk == A)


def test_equal_scores_come_in_the_order_of_files_whatever_order_a_store_gives_them_in() -> None:
    assert ids(convex([Candidate(c, 0.5, 1.0) for c in (B, A, C)], 0.5, 10.0)) == [A, B, C]


def test_a_query_whose_words_weigh_nothing_leaves_the_ranking_to_meaning() -> None:
    assert ids(convex([Candidate(A, 0.3, 0.0), Candidate(B, 0.4, 0.0)], 0.5, 0.0)) == [B, A]


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 100)), max_size=20), st.floats(0, 1), st.floats(0.1, 50))
def test_scores_lie_between_zero_and_one_best_first(
    scores: list[tuple[float, float]], share: float, top: float
) -> None:
    ranked = convex([Candidate(A, dense, sparse) for dense, sparse in scores], share, top)
    values = [one.score for one in ranked]
    assert all(0 <= value <= 1 + 1e-9 for value in values)
    assert values == sorted(values, reverse=True)


def test_weights_reorder_and_are_told() -> None:
    ranked = [Ranked(Candidate(A), 0.8), Ranked(Candidate(B), 0.6)]
    changed = weighted(ranked, lambda chunk: 0.5 if chunk == A else 1.0, "path_weight")
    assert [(one.candidate.chunk, one.score, one.parts["path_weight"]) for one in changed] == [
        (B, 0.6, 1),
        (A, 0.4, 0.5),
    ]


CLOSE = make_chunk("pool.py", "def close", symbol="close", qualified_name="db.Pool.close")


def test_a_chunk_is_called_by_its_symbol_its_qualified_name_and_the_ends_of_it() -> None:
    assert all(is_called(CLOSE, name) for name in ("close", "pool.close", "db.pool.close"))
    assert not any(is_called(CLOSE, name) for name in ("ool.close", "pool", "clos", "b.pool.close"))


def test_the_definition_of_the_very_name_asked_for_is_lifted() -> None:
    ranked = [Ranked(Candidate(A), 0.6), Ranked(Candidate(CLOSE), 0.4)]
    lifted = boosted(ranked, "pool.close", 0.5)
    assert ids(lifted) == [CLOSE, A]
    assert lifted[0].score == pytest.approx(0.7)
    assert lifted[0].parts["definition_boost"] == pytest.approx(0.3)
    assert ids(boosted(ranked, "", 0.5)) == [A, CLOSE]


def test_names_rank_whole_before_end_before_beginning_and_short_before_long() -> None:
    def named(path: str, qualified: str, line: int = 1) -> Chunk:
        return make_chunk(path, path, symbol=qualified.split(".")[-1], qualified_name=qualified, start_line=line)

    whole, end = named("z.py", "close"), named("y.py", "Pool.close")
    later = named("y.py", "Pool.close", 40)
    short, long = named("x.py", "closed"), named("w.py", "close_everything")
    other = named("v.py", "disclose")
    ranked = by_name([other, long, later, short, end, whole], "close")
    assert ids(ranked) == [whole, end, later, short, long]
    assert [one.score for one in ranked] == [1.0, 0.9, 0.9, pytest.approx(0.8 * 5 / 6), pytest.approx(0.8 * 5 / 16)]


def test_a_file_gives_its_three_best_and_the_rest_only_where_nothing_else_is_left() -> None:
    same = [Ranked(Candidate(make_chunk("a.py", f"part {i}", start_line=i + 1)), 0.9 - i / 100) for i in range(5)]
    other = Ranked(Candidate(B), 0.1)
    assert spread([*same, other], 4, 3) == [*same[:3], other]
    assert spread([*same, other], 6, 3) == [*same, other]
    assert spread([], 3, 3) == []


def test_the_same_path_in_two_repositories_is_two_files() -> None:
    ours = [Ranked(Candidate(make_chunk("a.py", f"{i}", start_line=i + 1)), 0.9) for i in range(3)]
    theirs = [Ranked(Candidate(make_chunk("a.py", f"{i}", repository="r2", start_line=i + 1)), 0.8) for i in range(3)]
    assert spread([*ours, *theirs], 6, 3) == [*ours, *theirs]


SAID = make_chunk("m.py", 'msg = """Working outside\n    of application context."""')


@pytest.mark.parametrize(
    "text",
    [
        "Working outside of application context",
        "  working OUTSIDE of\tapplication  context.  ",
        "RuntimeError: Working outside of application context.",
        "flask.errors.AppContextError: Working outside of application context.",
    ],
)
def test_who_says_the_query_word_for_word_leads(text: str) -> None:
    hits = [Hit(A, "main", "c", 0.6, {"fused": 0.6}), Hit(SAID, "main", "c", 0.4, {"fused": 0.4})]
    first, second = quoted(hits, text, 0.5)
    assert (first.chunk, first.score, first.scores) == (SAID, pytest.approx(0.7), {"fused": 0.4, "verbatim_boost": 0.3})
    assert second == hits[0]


@pytest.mark.parametrize("text", ["outside of", "Error: outside of", "is it working outside of application context"])
def test_two_words_or_other_words_lift_nothing(text: str) -> None:
    hits = [Hit(A, "main", "c", 0.6, {}), Hit(SAID, "main", "c", 0.4, {})]
    assert quoted(hits, text, 0.5) == hits


def test_what_can_be_looked_for_word_for_word_has_three() -> None:
    assert (is_quotable("no such"), is_quotable(" no such command ")) == (False, True)
