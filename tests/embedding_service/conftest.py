"""The real model, loaded once for all tests of the embedding service, and the service on a real port."""

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from embedding_service.backends.load import LoadedModel, load_model
from embedding_service.core.settings import EmbeddingSettings
from embedding_service.main import create_app
from tests.embedding_service.processes import Served, start
from tests.support.live import live

MakeSettings = Callable[..., EmbeddingSettings]

# Of the dev extra, and not in the image for work in containers, whose index has them for GPUs only.
_TORCH = {"sentence_transformers", "torch", "transformers"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    """A fixture that makes a model by torch skips its tests where there is none; in CI that is a failure."""
    with _skipped_without_torch():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """A test that compares with torch is skipped where there is none."""
    with _skipped_without_torch():
        return (yield)


@contextlib.contextmanager
def _skipped_without_torch() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name not in _TORCH or "CI" in os.environ:
            raise
        pytest.skip(f"{exc.name} is not installed")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedding-data")


@pytest.fixture(scope="session")
def make_settings(data_dir: Path) -> MakeSettings:
    def make(**fields: Any) -> EmbeddingSettings:
        return EmbeddingSettings(_env_file=None, **{"data_dir": data_dir, "embedding_threads": 1, **fields})

    return make


@pytest.fixture(scope="session", params=["onnx", "sentence_transformers"])
def loaded(request: pytest.FixtureRequest, make_settings: MakeSettings) -> LoadedModel:
    """The default model, by each backend in turn."""
    return load_model(make_settings(embedding_backend=request.param))


@pytest.fixture(scope="session")
def onnx_model(make_settings: MakeSettings) -> LoadedModel:
    return load_model(make_settings(embedding_backend="onnx"))


@pytest.fixture(scope="session")
def static_model(make_settings: MakeSettings) -> LoadedModel:
    """The whole table of the default model: 60 CPU-seconds, once a run."""
    return load_model(make_settings(embedding_backend="static", embedding_threads=2))


@pytest.fixture(scope="session")
def reference(onnx_model: LoadedModel) -> Callable[[list[str]], NDArray[np.float32]]:
    """SentenceTransformer.encode of the same model: what our vectors are held to."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(onnx_model.spec.folder), device="cpu")
    return lambda texts: np.asarray(model.encode(texts), np.float32)


@pytest.fixture(scope="session")
def code_texts() -> list[str]:
    """Real code that nobody here wrote, in pieces of all lengths: one word to several windows."""
    source = Path(httpx.__file__).with_name("_client.py").read_text()
    sizes = [7, 80, 400, 700, 1500, 9000]
    return [source[start : start + sizes[start % len(sizes)]] for start in range(0, 40_000, 1_999)]


def wait_until_ready(url: str, deadline_s: float = 60) -> None:
    end = time.monotonic() + deadline_s
    while (answer := httpx.get(f"{url}/readyz")).status_code != 200:
        assert time.monotonic() < end, answer.text
        time.sleep(0.05)


@pytest.fixture(scope="session")
def service(make_settings: MakeSettings) -> Iterator[str]:
    """The address of a ready service with the default model, in a worker process, and small limits."""
    settings = make_settings(max_client_batch_size=64, max_concurrent_requests=128)
    with live(create_app(settings)) as url:
        wait_until_ready(url)
        yield url


@pytest.fixture(scope="module")
def served(data_dir: Path, onnx_model: LoadedModel) -> Iterator[Served]:
    """A service in a process of its own, with the limits that a user gets; the graph is there."""
    running = start(DATA_DIR=data_dir)
    yield running
    running.end()


@pytest.fixture
def http(service: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service, timeout=60) as client:
        yield client
