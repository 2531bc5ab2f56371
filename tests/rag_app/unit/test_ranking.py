"""Fusion, weights, boosts and the spread over files: values in, values out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_app.core.models import Chunk, Hit
from rag_app.features.search.fusion import (
    FULL_ARM,
    LACKING_SHARE,
    SURE_LEAD,
    SURE_TERMS,
    Candidate,
    Ranked,
    convex,
    is_sure,
    merge,
)
from rag_app.features.search.ranking import by_name, quoted, rank, read_depth, spread
from rag_app.features.search.understanding import understood
from rag_app.features.search.weights import Weights
from tests.support.chunks import make_chunk

A, B, C, D = (make_chunk(f"{name}.py", name) for name in "abcd")


def ids(ranked: Sequence[Ranked]) -> list[Chunk]:
    return [one.candidate.chunk for one in ranked]


def test_one_candidate_a_chunk_with_what_each_arm_gave_it() -> None:
    merged = merge([(A, 0.9), (B, 0.5)], [(B, 12.0), (C, 3.0)])
    assert merged == [
        Candidate(A, 0.9, None, dense_rank=1),
        Candidate(B, 0.5, 12.0, dense_rank=2, sparse_rank=1),
        Candidate(C, None, 3.0, sparse_rank=2),
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


def test_what_a_full_arm_of_words_lacks_gets_a_little_less_than_its_last() -> None:
    chunks = [make_chunk(f"{number}.py", "x") for number in range(FULL_ARM)]
    arm = [Candidate(chunk, None, 4.0 + number) for number, chunk in enumerate(chunks)]
    (lacking,) = (one for one in convex([*arm, Candidate(A, 0.5, None)], 0.5, 200.0) if one.candidate.chunk == A)
    assert lacking.parts["sparse_part"] == pytest.approx(LACKING_SHARE * 4.0 / 200)
    (lacking,) = (one for one in convex([*arm[1:], Candidate(A, 0.5, None)], 0.5, 200.0) if one.candidate.chunk == A)
    assert lacking.parts["sparse_part"] == 0.0


def test_a_candidate_more_or_less_moves_no_score() -> None:
    few = convex([Candidate(A, 0.4, 3.0)], 0.7, 10.0)
    many = convex([Candidate(A, 0.4, 3.0), Candidate(B, 0.9, 9.0)], 0.7, 10.0)
    assert few[0].score == next(one.score for one in many if one.candidate.chunk == A)


def test_the_dense_arm_is_sure_where_one_leads_or_the_query_has_few_words() -> None:
    led = [0.5, *[0.499 - SURE_LEAD] * 9]
    assert is_sure(led, 9)
    assert not is_sure([0.498, *led[1:]], 9)
    assert not is_sure(led[:9], 9)
    assert is_sure([], SURE_TERMS)
    assert not is_sure([], SURE_TERMS + 1)


def test_equal_scores_come_in_the_order_of_files_whatever_order_a_store_gives_them_in() -> None:
    assert ids(convex([Candidate(c, 0.5, 1.0) for c in (B, A, C)], 0.5, 10.0)) == [A, B, C]


def test_one_arm_alone_is_in_the_order_of_its_own_score_below_its_floor_too() -> None:
    arm = [Candidate(A, 0.02), Candidate(B, 0.09), Candidate(C, -0.3), Candidate(D, 0.4)]
    assert ids(convex(arm, 1.0, 10.0)) == [D, B, A, C]


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


CLOSE = make_chunk("pool.py", "def close", symbol="close", qualified_name="db.Pool.close")
TEST = make_chunk("tests/test_c.py", "def test_it")


def test_the_rank_is_what_the_arms_say_weighed_and_lifted_and_says_so() -> None:
    arms = [Candidate(TEST, 1.0, 0.0), Candidate(A, 0.77, 0.0), Candidate(C, 0.75, 0.0)]
    ordered = list(rank(arms, understood("what is done here"), Weights(), 10.0, dense_share=1.0))
    assert ids(ordered) == [C, A, TEST]  # its test fits best of all
    by_chunk = {one.candidate.chunk: one for one in ordered}
    assert by_chunk[TEST].score == pytest.approx(by_chunk[TEST].parts["path_weight"] * 1.0)
    of_c = by_chunk[C].parts
    assert by_chunk[C].score == pytest.approx(of_c["fused"] * of_c["path_weight"] + of_c["evidence_boost"])


def test_for_a_sentence_code_between_definitions_stands_back_and_says_so() -> None:
    imports = make_chunk("a.py", "from pool import close", kind="block")
    arms = [Candidate(imports, 0.8, 0.0), Candidate(C, 0.78, 0.0)]
    of_sentence = list(
        rank(arms, understood("where does it close what is in the pool"), Weights(), 10.0, dense_share=1)
    )
    assert ids(of_sentence) == [C, imports]
    parts = of_sentence[1].parts
    assert of_sentence[1].score == pytest.approx(parts["fused"] * parts["path_weight"] * parts["kind_weight"])
    of_title = list(rank(arms, understood("close pool imports"), Weights(), 10.0, dense_share=1))
    assert ids(of_title) == [imports, C]
    assert "kind_weight" not in of_title[0].parts


def test_who_names_paths_gets_no_class_of_files_behind_another() -> None:
    arms = [Candidate(TEST, 0.9, 0.0), Candidate(A, 0.8, 0.0)]
    asked = understood("what is done here")
    assert ids(list(rank(arms, asked, Weights(), 10.0, dense_share=1.0, is_place_told=True))) == [TEST, A]


def test_the_definition_of_the_very_name_asked_for_leads_though_no_arm_brought_it() -> None:
    merged = merge([(A, 0.5)], [], [CLOSE])
    ordered = list(rank(merged, understood("Pool.close"), Weights(), 10.0, dense_share=0.4))
    assert ids(ordered) == [CLOSE, A]
    assert ordered[0].parts["definition_boost"] == pytest.approx(Weights().definition_boost)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 100)), max_size=20), st.floats(0, 1))
def test_ranked_scores_lie_between_zero_and_one_too(scores: list[tuple[float, float]], share: float) -> None:
    arms = [Candidate(CLOSE if n % 2 else TEST, dense, sparse) for n, (dense, sparse) in enumerate(scores)]
    ordered = list(rank(arms, understood("pool.py: Pool.close"), Weights(), 100.0, dense_share=share))
    assert all(0 <= one.score <= 1 + 1e-9 for one in ordered)


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
    first, second = quoted(hits, understood(text), 0.5)
    assert (first.chunk, first.score) == (SAID, pytest.approx(0.7))
    assert first.scores == {"fused": 0.4, "verbatim": 1.0, "verbatim_boost": pytest.approx(0.3)}
    assert second == hits[0]


def test_a_message_counts_by_as_much_as_is_not_its_values() -> None:
    raised = make_chunk("m.py", 'raise ValueError(f"invalid literal {text!r} for option {name}: want a number")')
    hits = [Hit(A, "main", "c", 0.4, {}), Hit(raised, "main", "c", 0.38, {})]
    first, _ = quoted(hits, understood("ValueError: invalid literal 'abc' for option --count: want a number"), 0.5)
    assert first.chunk == raised
    assert 0 < first.scores["verbatim"] < 1


@pytest.mark.parametrize("text", ["outside of", "Error: outside of", "is it working inside of application contexts"])
def test_two_words_or_other_words_lift_nothing(text: str) -> None:
    hits = [Hit(A, "main", "c", 0.6, {}), Hit(SAID, "main", "c", 0.4, {})]
    assert quoted(hits, understood(text), 0.5) == hits


def test_texts_are_read_where_there_is_a_run_of_words_to_look_for_and_more_for_a_message() -> None:
    assert read_depth(understood("no such")) == 0
    assert 0 < read_depth(understood("where commands end")) < read_depth(understood("OSError: no such file or folder"))
