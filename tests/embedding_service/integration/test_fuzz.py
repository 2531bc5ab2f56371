"""The service holds what its own OpenAPI document says, whatever is sent: no failure but those it names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from embedding_service.backends.load import LoadedModel
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.embedding_service.made_models import BERT, save
from tests.support.live import live

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]

# Of each route, for two models, valid and broken: 2,000 requests in all, half a minute.
EXAMPLES = 40

PROBES = {"/healthz", "/readyz", "/metrics"}
ROUTES = [
    *((path, "get") for path in ("/health", "/info")),
    *((path, "post") for path in ("/embed", "/embed_all", "/embed_sparse", "/similarity", "/predict", "/rerank")),
    *((path, "post") for path in ("/tokenize", "/decode", "/vertex", "/v1/embeddings")),
]


@pytest.fixture(scope="module")
def reranker(
    make_settings: MakeSettings, onnx_model: LoadedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A service whose model is a reranker: /rerank and /predict answer, the vectors' routes are 424."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(**BERT, num_labels=1)
    folder: Path = save(tmp_path_factory.mktemp("fuzz"), onnx_model.spec.folder, BertForSequenceClassification(config))
    with live(create_app(make_settings(embedding_model=str(folder)))) as url:
        wait_until_ready(url)
        yield url


@pytest.fixture(params=["service", "reranker"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def test_every_route_of_the_document_is_fuzzed(service: str) -> None:
    paths = httpx.get(f"{service}/openapi.json").json()["paths"]
    documented = {(path, method) for path, methods in paths.items() for method in methods}
    assert {(path, method) for path, method in documented if path not in PROBES} == set(ROUTES)


# In a request without parameters and body nothing can be broken.
@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        pytest.param(path, method, mode, id=f"{path} {mode.value}")
        for path, method in ROUTES
        for mode in GenerationMode
        if (method, mode) != ("get", GenerationMode.NEGATIVE)
    ],
)
def test_every_route_answers_as_documented(url: str, path: str, method: str, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_url(f"{url}/openapi.json")[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def check(case: Any) -> None:
        case.validate_response(case.call(timeout=30), checks=CHECKS)

    check()
    assert httpx.get(f"{url}/readyz").status_code == 200
