"""A direct route goes past FastAPI, and a caller, the log, the metrics and the document see no difference."""

import logging
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from service_kit.app import create_service
from service_kit.errors import Overloaded, Upstream
from service_kit.health import Check
from service_kit.metrics import HttpMetrics


class Route(APIRoute):
    def __init__(self, path: str) -> None:
        async def documented() -> Response:
            raise AssertionError("its own app serves it")

        super().__init__(path, documented, methods=["POST"], response_class=Response)
        self.app = self.serve

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.path == "/busy":
            raise Overloaded("64 requests are in flight", retry_after_s=3)
        if self.path == "/fallen":
            raise Upstream("the backend answered badly")
        if self.path == "/broken":
            raise RuntimeError("the password is hunter2")
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message["body"]), message.get("more_body", False)
        await JSONResponse({"size": size, "is_past": "starlette.exception_handlers" not in scope})(scope, receive, send)


@pytest.fixture
def metrics() -> HttpMetrics:
    return HttpMetrics("toy")


@pytest.fixture
def client(metrics: HttpMetrics) -> TestClient:
    async def readiness() -> list[Check]:
        return []

    routes = [Route(path) for path in ("/echo", "/busy", "/fallen", "/broken")]
    app = create_service("toy", readiness=readiness, metrics=metrics, max_body_bytes=1000, direct=routes)
    return TestClient(app, raise_server_exceptions=False)


def test_it_is_served_past_fastapi_and_counted_by_its_route(client: TestClient, metrics: HttpMetrics) -> None:
    answer = client.post("/echo", content=b"12345", headers={"x-request-id": "abc"})
    assert answer.json() == {"size": 5, "is_past": True}
    assert answer.headers["x-request-id"] == "abc"
    labels = {"method": "POST", "route": "/echo", "status": "200"}
    assert metrics.registry.get_sample_value("http_requests_total", labels) == 1


def test_a_refusal_is_in_the_envelope_and_counted(client: TestClient, metrics: HttpMetrics) -> None:
    answer = client.post("/busy")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert answer.json()["error"]["code"] == "overloaded"
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]
    assert metrics.registry.get_sample_value("errors_total", {"code": "overloaded"}) == 1


def test_a_failure_is_logged_with_its_route(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert client.post("/fallen").status_code == 502
    (record,) = [record for record in caplog.records if record.name == "service_kit.failures"]
    assert vars(record)["route"] == "/fallen"
    assert "answered badly" in vars(record)["detail"]


def test_what_nobody_foresaw_is_hidden_and_named_by_the_request(client: TestClient) -> None:
    answer = client.post("/broken", headers={"x-request-id": "abc"})
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["error"]["request_id"] == "abc"


def test_what_does_not_match_to_the_letter_is_fastapis(client: TestClient) -> None:
    answer = client.get("/echo")
    assert (answer.status_code, answer.json()["error"]["message"]) == (405, "/echo does not take GET; see /docs")
    assert client.post("/echoes").status_code == 404


def test_it_stands_in_the_document(client: TestClient) -> None:
    assert "post" in client.get("/openapi.json").json()["paths"]["/echo"]


def test_a_body_without_a_length_is_counted_while_it_is_read(client: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * 400

    answer = client.post("/echo", content=pieces())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
