"""TEI's routes of vectors beside /embed: /embed_sparse, /embed_all, /similarity; and /decode."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from embedding_service.backends.load import LoadedModel
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.embedding_service.integration.conftest import QUERY, TEXTS, answered
from tests.support.engines import InProcess
from tests.support.live import live

Reference = Callable[[list[str]], NDArray[np.float32]]


# --- /embed_sparse


def test_embed_sparse_gives_the_weights_of_sparse_encoder(splade: httpx.Client, folders: dict[str, Path]) -> None:
    from sentence_transformers import SparseEncoder

    found = answered(splade.post("/embed_sparse", json={"inputs": TEXTS}))
    encoder = SparseEncoder(str(folders["splade"]), device="cpu")
    expected = np.asarray(encoder.encode(TEXTS, convert_to_sparse_tensor=False))
    for row, weights in zip(found, expected, strict=True):
        assert [one["index"] for one in row] == sorted(one["index"] for one in row)
        assert all(one["value"] > 0 for one in row)
        dense = np.zeros(30522)
        dense[[one["index"] for one in row]] = [one["value"] for one in row]
        np.testing.assert_allclose(dense, weights, atol=1e-4)
    single = answered(splade.post("/embed_sparse", json={"inputs": TEXTS[0]}))
    assert [len(row) for row in single] == [len(found[0])]  # a list of one


def test_a_splade_embeds_densely_only_where_normalize_is_false(splade: httpx.Client) -> None:
    refused = splade.post("/embed", json={"inputs": "a"})
    message = "Backend error: `normalize` is not available for SPLADE models"
    assert (refused.status_code, refused.json()) == (424, {"error": message, "error_type": "Backend"})
    dense = answered(splade.post("/embed", json={"inputs": QUERY, "normalize": False}))
    (row,) = answered(splade.post("/embed_sparse", json={"inputs": QUERY}))
    assert np.flatnonzero(dense[0]).tolist() == [one["index"] for one in row]


# --- /embed_all, /similarity


def test_embed_all_gives_the_vectors_of_the_tokens_in_the_order_of_the_texts(http: httpx.Client) -> None:
    texts = ["close the pool", "a longer text, so that it is computed after the next one " * 9, "x"]
    found = answered(http.post("/embed_all", json={"inputs": texts}))
    tokens = answered(http.post("/tokenize", json={"inputs": texts}))
    assert [len(vectors) for vectors in found] == [len(one) for one in tokens]
    pooled = answered(http.post("/embed", json={"inputs": texts, "normalize": False}))
    for vectors, expected in zip(found, pooled, strict=True):  # the model pools by the mean
        np.testing.assert_allclose(np.mean(vectors, axis=0), expected, atol=1e-5)
    (single,) = answered(http.post("/embed_all", json={"inputs": texts[0]}))
    np.testing.assert_allclose(single, found[0], atol=1e-5)


def test_embed_all_is_424_where_the_backend_has_no_token_vectors(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    class Pooled:
        name, dim, tasks = "table", 384, frozenset({"embed"})

        def run(self, task: Any, batch: Any) -> Any:
            return np.ones((len(batch.ids), 384), np.float32)

    model = LoadedModel(onnx_model.spec, onnx_model.tokenizer, Pooled(), 1)
    with live(create_app(make_settings(), make_engine=lambda: InProcess(lambda: model))) as url:
        wait_until_ready(url)
        answer = httpx.post(f"{url}/embed_all", json={"inputs": "a"})
        assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")
        assert "`embed_all` is not available for the table backend" in answer.json()["error"]
        assert len(answered(httpx.post(f"{url}/embed", json={"inputs": "a"}))[0]) == 384


def test_similarity_gives_the_cosines_with_the_source(http: httpx.Client, reference: Reference) -> None:
    body = {"inputs": {"source_sentence": QUERY, "sentences": TEXTS[:3]}, "parameters": {"truncate": True}}
    found = answered(http.post("/similarity", json=body))
    vectors = reference([QUERY, *TEXTS[:3]])
    np.testing.assert_allclose(found, vectors[1:] @ vectors[0], atol=1e-4)


def test_similarity_counts_the_source_and_refuses_what_tei_refuses(http: httpx.Client) -> None:
    empty = http.post("/similarity", json={"inputs": {"source_sentence": "a", "sentences": []}})
    assert empty.json() == {"error": "`inputs.sentences` cannot be empty", "error_type": "Empty"}
    many = http.post("/similarity", json={"inputs": {"source_sentence": "a", "sentences": ["b"] * 64}})
    assert (many.status_code, "batch size 65 > maximum" in many.json()["error"]) == (422, True)
    for inputs in ("a", {"source_sentence": "a"}, {"source_sentence": ["a"], "sentences": ["b"]}):
        assert http.post("/similarity", json={"inputs": inputs}).status_code == 422


# --- /decode


def test_decode_gives_the_texts_of_ids(http: httpx.Client) -> None:
    ids = [token["id"] for token in answered(http.post("/tokenize", json={"inputs": "close the pool"}))[0]]
    assert answered(http.post("/decode", json={"ids": ids})) == ["close the pool"]
    assert answered(http.post("/decode", json={"ids": [ids, ids[1:2]]})) == ["close the pool", "close"]
    whole = answered(http.post("/decode", json={"ids": ids, "skip_special_tokens": False}))
    assert whole == ["[CLS] close the pool [SEP]"]


@pytest.mark.parametrize(
    ("ids", "status", "kind"),
    [
        ([], 400, "Empty"),
        ([[]], 400, "Empty"),
        ([2**32], 422, "Validation"),
        ([-1], 422, "Validation"),
        ("a", 422, "Validation"),
        ([["a"]], 422, "Validation"),
        ([[1]] * 65, 422, "Validation"),
    ],
    ids=range(7),
)
def test_decode_refuses_what_is_no_ids(http: httpx.Client, ids: Any, status: int, kind: str) -> None:
    answer = http.post("/decode", json={"ids": ids})
    assert (answer.status_code, answer.json()["error_type"]) == (status, kind)
