"""Texts are tokenised in groups that hold little memory."""

import tracemalloc

import orjson
from hypothesis import given
from hypothesis import strategies as st

from embedding_service.backends.load import LoadedModel
from embedding_service.backends.tokenizer import grouped


@given(st.lists(st.integers(0, 70_000), max_size=200))
def test_groups_hold_every_text_in_order_and_few_characters(sizes: list[int]) -> None:
    groups = list(grouped(sizes, lambda size: size))
    assert [size for group in groups for size in group] == sizes
    for group in groups:
        assert 1 <= len(group) <= 32
        assert len(group) == 1 or sum(group) <= 64_000


def test_the_tokens_of_many_long_texts_are_never_all_there_at_once(onnx_model: LoadedModel) -> None:
    texts = ["a b c " * 10_000] * 8
    tracemalloc.start()
    written = sum(len(orjson.dumps(tokens)) for tokens in onnx_model.tokenizer.tokens(texts, True))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert written > 8 * 30_000 * 40  # 30,000 tokens a text, each 40 bytes of JSON and more
    # Seen: 13 MB, the tokens of one text; those of all eight, with their JSON, take 74.
    assert peak < 30_000_000
