"""A guarded service: who does not show the key is refused before a byte of the body is read."""

import logging
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from pydantic import SecretStr
from starlette.requests import Request
from starlette.websockets import WebSocketDisconnect

from service_kit.app import create_service
from service_kit.health import Check
from service_kit.keys import Guarded
from service_kit.metrics import HttpMetrics

KEY = "sk-planted-7391"


def guarded(**changes: Any) -> Guarded:
    given = {"open_paths": frozenset({"/healthz", "/readyz", "/metrics"}), "open_folders": ("/static/",)}
    return Guarded(SecretStr(KEY), "TOY_KEY", missing="no key", wrong="another key", **{**given, **changes})


def app_of(asked: Guarded) -> FastAPI:
    async def nothing() -> list[Check]:
        return []

    app = create_service("toy", readiness=nothing, metrics=HttpMetrics("toy"), max_body_bytes=1000, guarded=asked)

    @app.api_route("/secret", methods=["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
    async def secret(request: Request) -> dict[str, str]:
        return {"told": (await request.body()).decode()}

    @app.get("/static/{name}")
    async def static(name: str) -> str:
        return name

    @app.websocket("/talk")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")

    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(app_of(guarded()), raise_server_exceptions=False)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_the_key_opens_every_method_and_without_it_none_is_open(client: TestClient, method: str) -> None:
    assert client.request(method, "/secret", headers=bearer(KEY)).status_code == 200
    refused = client.request(method, "/secret")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "x-request-id" in refused.headers


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "no key"),
        ({"authorization": ""}, "no key"),
        ({"authorization": KEY}, "no key"),
        ({"authorization": f"Basic {KEY}"}, "no key"),
        ({"api-key": KEY}, "no key"),
        ({"authorization": "Bearer"}, "no key"),
        ({"authorization": "Bearer "}, "no key"),
        (bearer(KEY[:-1]), "another key"),
        (bearer(KEY + "x"), "another key"),
        (bearer(KEY.upper()), "another key"),
        (bearer(f"{KEY} {KEY}"), "another key"),
        (bearer("x" * 60_000), "another key"),
        ({"authorization": b"Bearer \xff\xfe"}, "another key"),
    ],
)
def test_anything_else_is_refused_in_the_services_words(client: TestClient, headers: Any, words: str) -> None:
    answer = client.post("/secret", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert answer.json()["error"]["message"] == words


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_the_scheme_is_a_word_of_any_case(client: TestClient, scheme: str) -> None:
    assert client.get("/secret", headers={"authorization": f"{scheme}  {KEY} "}).status_code == 200


def test_of_two_headers_the_first_counts(client: TestClient) -> None:
    wrong, right = ("authorization", "Bearer x"), ("authorization", f"Bearer {KEY}")
    assert client.get("/secret", headers=[wrong, right]).status_code == 401
    assert client.get("/secret", headers=[right, wrong]).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/static/a.js"])
def test_what_is_open_asks_for_nothing(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/secret/", "/healthz/", "//healthz", "/static", "/openapi.json", "/docs", "/SECRET"]
)
def test_what_is_not_known_to_be_open_is_guarded_even_where_there_is_nothing(client: TestClient, path: str) -> None:
    assert client.get(path, follow_redirects=False).status_code == 401


@pytest.mark.parametrize(
    "path", ["/static/../secret", "/static/%2e%2e/secret", "/static//secret", "/static/..%2fsecret"]
)
def test_no_way_through_an_open_folder_leads_to_what_is_guarded(client: TestClient, path: str) -> None:
    assert "told" not in client.get(path).text


async def test_a_refusal_does_not_wait_for_the_body() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was asked for")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/secret", "raw_path": b"/secret", "query_string": b"",
        "headers": [(b"content-length", b"999")], "scheme": "http", "server": ("t", 1), "client": ("t", 2),
        "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    await app_of(guarded())(scope, receive, send)
    assert sent[0]["status"] == 401


def test_a_websocket_is_guarded_too(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/talk"):
        pass
    with client.websocket_connect("/talk", headers=bearer(KEY)) as socket:
        assert socket.receive_text() == "hello"


def test_a_service_may_take_the_key_by_a_header_of_its_own() -> None:
    client = TestClient(app_of(guarded(header=b"api-key")))
    assert client.get("/secret", headers={"api-key": KEY}).status_code == 200
    assert client.get("/secret", headers=bearer(KEY)).status_code == 200
    assert client.get("/secret", headers={"api-key": "x", **bearer(KEY)}).status_code == 401


@pytest.mark.parametrize("key", ["two words", "a\nb", "kéy"])
def test_a_key_that_no_header_can_hold_is_refused_at_the_start(key: str) -> None:
    with pytest.raises(ValueError, match="TOY_KEY holds") as failed:
        Guarded(SecretStr(key), "TOY_KEY", frozenset(), missing="", wrong="")
    assert key not in str(failed.value)


def test_an_empty_key_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="TOY_KEY is empty"):
        Guarded(SecretStr(""), "TOY_KEY", frozenset(), missing="", wrong="")


def test_no_log_line_metric_or_text_shows_a_key(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = [client.post("/secret", headers=bearer(key)).text for key in (KEY, f"{KEY}x")]
    seen = "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records if record.name != "httpx")
    assert KEY not in seen + "".join(told) + client.get("/metrics").text + repr(guarded())
    assert 'errors_total{code="unauthorized"} 1.0' in client.get("/metrics").text
