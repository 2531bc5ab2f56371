"""The gateway holds what its own OpenAPI document says, whatever is sent: no failure but those it names."""

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

from tests.llm_service.processes import Gateway, gateway
from tests.llm_service.wire import envelope_in

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]

# Of each route, valid and broken.
EXAMPLES = 60

PROBES = {"/healthz", "/readyz", "/metrics"}
GETS = ("/v1/models", "/v1/models/{model_id}", "/version")
POSTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize")
ROUTES = [*((path, "get") for path in GETS), *((path, "post") for path in POSTS)]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with gateway(folder, llm_provider="scripted", llm_max_tokens=200) as running:
        yield running


def test_every_route_of_the_document_is_fuzzed_and_says_how_it_fails(fuzzed: Gateway) -> None:
    paths = httpx.get(f"{fuzzed.url}/openapi.json").json()["paths"]
    documented = {(path, method) for path, methods in paths.items() for method in methods}
    assert {(path, method) for path, method in documented if path not in PROBES} == set(ROUTES)
    for path, method in ROUTES:
        responses = paths[path][method]["responses"]
        assert {"200", "4XX", "5XX"} <= set(responses)
        for status in ("4XX", "5XX"):
            error = responses[status]["content"]["application/json"]["schema"]["properties"]["error"]
            assert error["required"] == ["message", "type", "param", "code"]
    answers = paths["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    assert set(answers) == {"application/json", "text/event-stream"}
    assert set(paths["/tokenize"]["post"]["responses"]["200"]["content"]) == {"application/json"}


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
def test_every_route_answers_as_documented(fuzzed: Gateway, path: str, method: str, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")[path][method]

    seen: set[int] = set()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def check(case: Any) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body["model"] = "scripted"  # no made-up name is served, and nothing behind the door would be tried
        response = case.call(timeout=30)
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            envelope_in(response.content)

    check()
    if mode is GenerationMode.NEGATIVE:
        assert max(seen) >= 400
    elif path not in {"/v1/models/{model_id}", "/tokenize", "/detokenize"}:  # whose documents name no required field
        assert 200 in seen
    assert httpx.get(f"{fuzzed.url}/readyz").status_code == 200
    assert "Traceback" not in fuzzed.log
