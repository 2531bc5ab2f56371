"""The table distilled from the real model: another model with another identity, weaker, and there at once."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from embedding_service.backends.base import Backend, Batch, ModelError
from embedding_service.backends.load import LoadedModel
from embedding_service.backends.static_corpus import is_held_out
from embedding_service.backends.static_load import load_static
from embedding_service.core.model import identity
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.support.live import live
from tests.support.stdlib_functions import mrr_at_10, stdlib_functions

LIMIT = 2_000  # tokens of a table that is distilled for one test: 4 CPU-seconds


def no_teacher() -> Backend:
    raise AssertionError("a table that is there needs no teacher")


def embedder(loaded: LoadedModel) -> Callable[[list[str]], NDArray[np.float32]]:
    def embed(texts: list[str]) -> NDArray[np.float32]:
        ids = loaded.tokenizer.encode(texts, "right")
        parts = [loaded.backend.run("embed", Batch(ids[start : start + 8])) for start in range(0, len(ids), 8)]
        return np.concatenate(parts)

    return embed


def test_docstrings_find_their_functions_far_better_than_chance(static_model: LoadedModel) -> None:
    functions = stdlib_functions(1500, wanted=is_held_out)  # none that the table was fitted to
    table = embedder(static_model)
    found = mrr_at_10(table([function.doc for function in functions]), table([function.body for function in functions]))
    # Seen on Python 3.11: .460. The model has .574, the table without its fit .411, plain Model2Vec .258, chance .002.
    assert 0.42 < found < 0.52


def test_the_table_has_three_quarters_of_what_its_teacher_finds(
    static_model: LoadedModel, onnx_model: LoadedModel
) -> None:
    functions = stdlib_functions(300, wanted=is_held_out)
    docs, bodies = [function.doc for function in functions], [function.body for function in functions]
    table, model = embedder(static_model), embedder(onnx_model)
    assert 0.75 < mrr_at_10(table(docs), table(bodies)) / mrr_at_10(model(docs), model(bodies)) < 1


def test_the_table_is_another_model_than_its_teacher(static_model: LoadedModel, onnx_model: LoadedModel) -> None:
    spec, dim = static_model.spec, static_model.backend.dim
    assert identity(spec, dim) != identity(onnx_model.spec, onnx_model.backend.dim)
    assert (spec.name, spec.pooling, spec.max_tokens) == (onnx_model.spec.name, "mean", 512)


def test_no_text_is_without_a_direction(static_model: LoadedModel) -> None:
    vectors = embedder(static_model)(["", " ", "\x00", "x" * 5_000, "日本語"])
    assert np.isfinite(vectors).all()
    assert (np.linalg.norm(vectors, axis=1) > 0).all()


def test_text_beyond_the_teachers_window_still_counts(static_model: LoadedModel) -> None:
    start = "value = compute(value) " * 60  # 360 tokens
    short, long = embedder(static_model)([start, start + "parse the configuration file " * 10])
    assert short @ long / np.linalg.norm(short) / np.linalg.norm(long) < 0.99


def test_a_table_is_distilled_once_and_says_how_far_it_is(onnx_model: LoadedModel, tmp_path: Path) -> None:
    said: list[str] = []
    spec, first = load_static(onnx_model.spec, lambda: onnx_model.backend, tmp_path, progress=said.append, limit=LIMIT)
    assert said[-1] == "distilling: fitting the table"
    assert "distilling: 2000 of 2000 tokens" in said
    again, second = load_static(onnx_model.spec, no_teacher, tmp_path, progress=said.append, limit=LIMIT)
    assert again == spec
    batch = Batch(onnx_model.tokenizer.encode(["open the file", "def close(self): ..."], "right"))
    np.testing.assert_array_equal(first.run("embed", batch), second.run("embed", batch))


def test_another_teacher_gives_another_table(onnx_model: LoadedModel, tmp_path: Path) -> None:
    load_static(onnx_model.spec, lambda: onnx_model.backend, tmp_path, limit=LIMIT)
    other = replace(onnx_model.spec, digest="0" * 64)
    spec, _ = load_static(other, lambda: onnx_model.backend, tmp_path, limit=LIMIT)
    assert len(list(tmp_path.iterdir())) == 2
    assert spec.digest in {path.name for path in tmp_path.iterdir()}


def test_a_broken_table_says_which_file_to_remove(onnx_model: LoadedModel, tmp_path: Path) -> None:
    spec, _ = load_static(onnx_model.spec, lambda: onnx_model.backend, tmp_path, limit=LIMIT)
    (tmp_path / spec.digest / "table.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ModelError, match=r"table\.npy is unreadable.*remove it"):
        load_static(onnx_model.spec, no_teacher, tmp_path, limit=LIMIT)


def test_distilling_is_told_in_the_log(
    onnx_model: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="embedding_service.static"):
        load_static(onnx_model.spec, lambda: onnx_model.backend, tmp_path, limit=LIMIT)
    assert "distilling: 2000 of 2000 tokens" in caplog.messages
    assert caplog.messages[-1] == "table distilled"


def test_the_service_serves_it_by_the_same_routes_and_names_it_in_info(
    make_settings: MakeSettings, static_model: LoadedModel
) -> None:
    with live(create_app(make_settings(embedding_backend="static"))) as url:
        wait_until_ready(url)
        assert "by static" in httpx.get(f"{url}/readyz").json()["checks"][0]["detail"]
        info = httpx.get(f"{url}/info").json()
        assert info["model_type"] == {"embedding": {"pooling": "mean"}}
        assert (info["model_dtype"], info["dim"], info["max_input_length"]) == ("float32", 384, 512)
        assert info["identity"] == identity(static_model.spec, static_model.backend.dim)
        answer = httpx.post(f"{url}/embed", json={"inputs": ["def close(self): ...", " "]}).json()
        np.testing.assert_allclose(np.linalg.norm(np.array(answer), axis=1), 1, atol=1e-5)
