"""How texts are put together: all of them, under the limit, with next to no padding."""

from hypothesis import given
from hypothesis import strategies as st

from embedding_service.features.embedding.batches import micro_batches


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 1_000))
def test_micro_batches_hold_every_text_once_and_stay_under_the_limit(lengths: list[int], limit: int) -> None:
    batches = micro_batches(lengths, limit)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= limit


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_padding_costs_less_than_batches_of_one_would(lengths: list[int]) -> None:
    batches = micro_batches(lengths, 100_000)
    computed = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)
    assert computed + 14 * len(batches) <= sum(lengths) + 14 * len(lengths)


def test_equal_lengths_go_together() -> None:
    assert list(micro_batches([10, 200, 10, 200], 400)) == [[0, 2], [1, 3]]


def test_a_long_text_does_not_make_short_ones_as_long() -> None:
    assert list(micro_batches([12, 100, 12, 12], 512)) == [[0, 2, 3], [1]]


def test_a_little_padding_is_cheaper_than_another_batch() -> None:
    assert list(micro_batches([12, 13, 12, 14], 512)) == [[0, 2, 1, 3]]
