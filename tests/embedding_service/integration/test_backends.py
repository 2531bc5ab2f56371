"""One contract, every backend: the vectors are those of SentenceTransformer.encode, whatever the text."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from embedding_service.backends.base import BackendFailed, Batch
from embedding_service.backends.load import LoadedModel
from embedding_service.core.model import identity

Reference = Callable[[list[str]], NDArray[np.float32]]

# The stated bound, a component. What is seen on this model is 3e-7.
TOLERANCE = 1e-4

ODD_TEXTS = [
    "",
    " ",
    " \n\t  ",
    "日本語のコメント # 説明",
    "naïve café — “quotes” 🚀👩‍👩‍👧",
    "e\u0301 combining",
    "a\x00b\x07c",
    "x" * 5_000,
    "getUserByID snake_case_name HTTPServer2",
    "مرحبا بالعالم",
]


def embed(loaded: LoadedModel, texts: list[str]) -> NDArray[np.float32]:
    pooled = loaded.backend.run("embed", Batch(loaded.tokenizer.encode(texts, "right")))
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def test_code_in_bulk_has_the_vectors_of_encode_in_the_order_given(
    loaded: LoadedModel, reference: Reference, code_texts: list[str]
) -> None:
    vectors = embed(loaded, code_texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(code_texts), 384)
    np.testing.assert_allclose(vectors, reference(code_texts), atol=TOLERANCE)


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_an_odd_text_alone_has_the_vector_of_encode(loaded: LoadedModel, reference: Reference, text: str) -> None:
    np.testing.assert_allclose(embed(loaded, [text]), reference([text]), atol=TOLERANCE)


def test_a_text_has_the_same_vector_alone_and_beside_a_long_one(loaded: LoadedModel) -> None:
    alone = embed(loaded, ["def f(): pass"])
    beside = embed(loaded, ["class Long:\n" + "    value = compute(value)\n" * 60, "def f(): pass"])
    np.testing.assert_allclose(beside[1:], alone, atol=1e-5)  # padding is masked, not averaged in


def test_a_text_over_the_window_is_cut_at_256_tokens_and_not_at_the_128_of_its_tokenizer_file(
    loaded: LoadedModel,
) -> None:
    text = " ".join(f"name{number}" for number in range(400))
    (ids,) = loaded.tokenizer.encode([text], "right")
    assert len(ids) == 256
    cut_at_128 = [*ids[:127], ids[-1]]
    whole, half = loaded.backend.run("embed", Batch([ids, cut_at_128]))
    assert np.abs(whole - half).max() > 1e-3


def test_a_batch_that_the_model_cannot_take_is_a_failure_of_the_backend(loaded: LoadedModel) -> None:
    beyond_position_table = [[101] * 600]
    with pytest.raises(BackendFailed, match="1 texts") as failure:
        loaded.backend.run("embed", Batch(beyond_position_table))
    assert failure.value.status == 424


def test_backends_that_agree_share_an_identity(loaded: LoadedModel, onnx_model: LoadedModel) -> None:
    assert identity(loaded.spec, loaded.backend.dim) == identity(onnx_model.spec, onnx_model.backend.dim)
