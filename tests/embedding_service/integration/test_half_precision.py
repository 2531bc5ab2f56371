"""float16 and bfloat16 by torch: near full precision, another identity, and refused where they cannot run."""

from collections.abc import Callable

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from embedding_service.backends.base import Batch, ModelError
from embedding_service.backends.load import load_model
from embedding_service.core.model import identity
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.support.live import live

# Lowest cosine with full precision: of 11 and of 8 bits of mantissa. Seen on these texts: 0.999999 and 0.99993.
LOWEST = {"float16": 0.9999, "bfloat16": 0.999}


@pytest.mark.parametrize("dtype", list(LOWEST))
def test_half_precision_gives_nearly_the_vectors_of_encode(
    make_settings: MakeSettings,
    reference: Callable[[list[str]], NDArray[np.float32]],
    code_texts: list[str],
    dtype: str,
) -> None:
    loaded = load_model(make_settings(dtype=dtype))
    assert loaded.backend.name == "sentence_transformers"  # as EMBEDDING_BACKEND=auto understands it
    texts = [text[:600] for text in code_texts[:8]]  # a CPU without such arithmetic takes its time
    vectors = loaded.backend.run("embed", Batch(loaded.tokenizer.encode(texts, "right")))
    assert vectors.dtype == np.float32
    cosines = (vectors * reference(texts)).sum(axis=1) / np.linalg.norm(vectors, axis=1)
    assert cosines.min() > LOWEST[dtype]
    assert np.abs(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) - reference(texts)).max() > 1e-6
    assert identity(loaded.spec, 384, dtype) != identity(loaded.spec, 384)


def test_no_attention_that_makes_a_plan_for_each_shape(make_settings: MakeSettings) -> None:
    """cuDNN's: on a GPU nearly every batch waited for one, and float16 was nine times slower than float32."""
    import torch

    torch.backends.cuda.enable_cudnn_sdp(True)
    load_model(make_settings(dtype="float16"))
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_info_tells_the_precision_that_runs(make_settings: MakeSettings) -> None:
    with live(create_app(make_settings(dtype="float16"))) as url:
        wait_until_ready(url)
        assert httpx.get(f"{url}/info").json()["model_dtype"] == "float16"
        assert len(httpx.post(f"{url}/embed", json={"inputs": "a"}).json()[0]) == 384


@pytest.mark.parametrize(("backend", "dtype"), [("onnx", "float16"), ("static", "bfloat16")])
def test_half_precision_is_refused_by_backends_that_have_none(
    make_settings: MakeSettings, backend: str, dtype: str
) -> None:
    with pytest.raises(ModelError, match=f"DTYPE={dtype}.*unset"):
        load_model(make_settings(embedding_backend=backend, dtype=dtype))
