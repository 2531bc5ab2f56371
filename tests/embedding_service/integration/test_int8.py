"""DTYPE=int8: nearly the vectors of full precision, the same in any batch, and mixing with them in one index."""

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from embedding_service.backends.base import Batch, ModelError
from embedding_service.backends.load import LoadedModel, load_model
from embedding_service.core.model import identity
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.support.engines import InProcess
from tests.support.live import live

BODIES = 1_500


@pytest.fixture(scope="module")
def int8_model(make_settings: MakeSettings) -> LoadedModel:
    return load_model(make_settings(embedding_backend="onnx", dtype="int8"))


def embed(loaded: LoadedModel, texts: list[str], batch_tokens: int = 512) -> NDArray[np.float32]:
    """Unit vectors in the order of the texts, by batches of like length."""
    ids = loaded.tokenizer.encode(texts, "right")
    vectors = np.empty((len(texts), loaded.backend.dim), np.float32)
    batch: list[int] = []
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    for position, index in enumerate(order):
        batch.append(index)
        longer = len(ids[order[position + 1]]) if position + 1 < len(order) else batch_tokens
        if (len(batch) + 1) * longer > batch_tokens:
            vectors[batch] = loaded.backend.run("embed", Batch([ids[member] for member in batch]))
            batch = []
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_text_has_the_same_vector_alone_and_in_any_batch(int8_model: LoadedModel, code_texts: list[str]) -> None:
    alone = np.concatenate([embed(int8_model, [text]) for text in code_texts])
    for batch_tokens in (512, 100_000):
        np.testing.assert_allclose(embed(int8_model, code_texts, batch_tokens), alone, atol=1e-5)


def test_vectors_of_code_are_as_near_to_full_precision_as_info_says(
    int8_model: LoadedModel, onnx_model: LoadedModel, code_texts: list[str]
) -> None:
    told = int8_model.details["quantization"]
    assert told["batch_invariant"] is True
    assert 0.99 < told["min_cosine"] < told["mean_cosine"] < 0.9999  # less than 1: it was computed in int8
    cosines = (embed(int8_model, code_texts) * embed(onnx_model, code_texts)).sum(axis=1)
    assert cosines.mean() == pytest.approx(told["mean_cosine"], abs=2e-3)  # other texts
    assert cosines.min() > 0.99


@pytest.mark.parametrize("text", ["", "a", "\x00", "x" * 5_000, "日本語のコメント", "= " * 300, "-" * 300, "🚀"])
def test_an_odd_text_is_near_too(int8_model: LoadedModel, onnx_model: LoadedModel, text: str) -> None:
    assert float((embed(int8_model, [text]) * embed(onnx_model, [text])).sum()) > 0.98


def test_its_graph_is_a_third_of_the_other_in_size(
    int8_model: LoadedModel, make_settings: MakeSettings, tmp_path: Path
) -> None:
    load_model(make_settings(dtype="int8", data_dir=tmp_path))
    (weights,) = (tmp_path / "onnx").glob("*/weights.bin")
    assert weights.stat().st_size < int8_model.spec.folder.joinpath("model.safetensors").stat().st_size / 3


def test_identity_and_info_tell_int8_from_full_precision(
    make_settings: MakeSettings, int8_model: LoadedModel, onnx_model: LoadedModel
) -> None:
    app = create_app(make_settings(dtype="int8"), make_engine=lambda: InProcess(lambda: int8_model))
    with live(app) as url:
        wait_until_ready(url)
        info = httpx.get(f"{url}/info").json()
    assert info["model_dtype"] == "int8"
    assert info["quantization"] == int8_model.details["quantization"]
    assert info["identity"] == identity(int8_model.spec, 384, "int8") != identity(onnx_model.spec, 384)


def test_int8_is_refused_where_onnx_does_not_run_the_model(make_settings: MakeSettings) -> None:
    with pytest.raises(ModelError, match="DTYPE=int8 is of the onnx backend only; unset DTYPE or EMBEDDING_BACKEND"):
        load_model(make_settings(embedding_backend="sentence_transformers", dtype="int8"))


def test_facts_that_are_lost_are_measured_again(tmp_path: Path, make_settings: MakeSettings) -> None:
    settings = make_settings(data_dir=tmp_path, embedding_backend="onnx", dtype="int8")
    told = load_model(settings).details
    (facts,) = (tmp_path / "onnx").glob("*/quantization.json")
    facts.unlink()
    assert load_model(settings).details == told


def documented_functions() -> Iterator[tuple[str, str]]:
    """(first paragraph of the docstring, source without it) of the standard library's functions, in order of path."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text("utf-8", errors="replace")
        lines = text.splitlines(keepends=True)
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or len(node.body) < 2:
                continue
            doc = ast.get_docstring(node)
            if not doc or len(query := " ".join(doc.split("\n\n")[0].split())) < 20:
                continue
            first, last, end = node.lineno - 1, node.body[0].end_lineno, node.end_lineno
            yield query, "".join(lines[first : node.body[0].lineno - 1] + lines[last:end])


def mrr_at_10(queries: NDArray[np.float32], documents: NDArray[np.float32]) -> float:
    """Of n queries (n, dim), whose documents are in the same rows."""
    scores = queries @ documents.T
    ranks = (scores > scores.diagonal()[:, None]).sum(axis=1) + 1
    return float(np.where(ranks <= 10, 1 / ranks, 0).mean())


def test_docstrings_find_their_functions_as_well_and_the_two_precisions_mix_in_one_index(
    int8_model: LoadedModel, onnx_model: LoadedModel
) -> None:
    """The stated fidelity. The functions are those of the Python that runs it, so only differences are held."""
    unique = {body: query for query, body in documented_functions()}
    step = len(unique) / BODIES
    chosen = [list(unique.items())[int(number * step)] for number in range(BODIES)]
    bodies, queries = ([pair[side] for pair in chosen] for side in (0, 1))
    assert len(set(bodies)) == BODIES
    q32, d32 = (embed(onnx_model, texts) for texts in (queries, bodies))
    q8, d8 = (embed(int8_model, texts) for texts in (queries, bodies))
    full = mrr_at_10(q32, d32)
    assert full > 0.4  # the search works at all
    found = {"int8": mrr_at_10(q8, d8), "int8 documents": mrr_at_10(q32, d8), "int8 queries": mrr_at_10(q8, d32)}
    for kind, value in found.items():
        assert value == pytest.approx(full, abs=0.01), kind
