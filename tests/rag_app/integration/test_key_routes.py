"""A server with a key: every route asks for it, but for those that a table here names."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr
from starlette.routing import Route

from rag_app.core.settings import RagSettings
from rag_app.main import create_app

KEY = "ca-planted-7391"
HERE = "http://127.0.0.1"

# A new route is guarded unless it is put here and into main.py.
OPEN = {
    "/", "/static/{name}", "/docs", "/docs/{name}", "/openapi.json", "/healthz", "/readyz", "/metrics",
}  # fmt: skip


def app_of(folder: Path, **settings: object) -> FastAPI:
    # Nobody listens on port 9, so that nothing is reached by mistake.
    given = {
        "data_dir": folder,
        "qdrant_port": 9,
        "embedding_url": "http://127.0.0.1:9",
        "llm_url": "http://127.0.0.1:9",
    }
    return create_app(RagSettings(_env_file=None, **{**given, **settings}))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(
        app_of(tmp_path, rag_api_key=SecretStr(KEY)), base_url=HERE, raise_server_exceptions=False
    ) as running:
        yield running


def every_route(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path) of each, of included routers too; fails where there is something else than a plain route."""

    def of(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
        for route in routes:
            if hasattr(route, "original_router"):  # how FastAPI keeps what was included
                yield from of(route.original_router.routes)
            else:
                assert isinstance(route, Route), f"{route} has routes of its own, or is none: look into it, too"
                yield from ((method, route.path) for method in sorted(route.methods or ()))

    found = list(of(app.routes))
    documented = {(method.upper(), path) for path, told in app.openapi()["paths"].items() for method in told}
    assert documented <= set(found)
    return found


def filled(path: str) -> str:
    names = {"/static/{name}": "/static/app.js", "/docs/{name}": "/docs/swagger-ui.css"}
    return names.get(path, path.replace("{identifier}", "x").replace("{name}", "x"))


def test_no_route_is_open_by_mistake(client: TestClient) -> None:
    routes = every_route(client.app)  # type: ignore[arg-type]
    paths = {path for _, path in routes}
    assert {"/v1/repositories", "/v1/search", "/v1/ask", "/v1/generate", "/v1/source", "/web/highlight"} <= paths
    assert paths >= OPEN
    answered = {(method, path): client.request(method, filled(path)).status_code for method, path in routes}
    closed = {key for key, status in answered.items() if status == 401}
    assert closed == {(method, path) for method, path in routes if path not in OPEN}


def test_the_key_opens_every_route(client: TestClient) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    for method, path in every_route(client.app):  # type: ignore[arg-type]
        assert client.request(method, filled(path), headers=headers).status_code != 401, path


def test_what_is_open_serves(client: TestClient) -> None:
    told = {path: client.get(filled(path)).status_code for path in OPEN}
    assert told.pop("/readyz") == 503  # there is no Qdrant
    assert set(told.values()) == {200}


def test_the_refusal_says_how_to_find_the_key_in_our_envelope(client: TestClient) -> None:
    answer = client.post("/v1/search", json={"query": "x"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert error["request_id"] == answer.headers["x-request-id"]
    assert "code-assistant key" in error["message"]
    wrong = client.post("/v1/search", json={"query": "x"}, headers={"authorization": "Bearer other"})
    assert "not the key" in wrong.json()["error"]["message"]


def test_a_page_of_another_site_is_refused_before_it_is_asked_for_a_key(client: TestClient) -> None:
    foreign = {"origin": "https://attacker.example", "authorization": f"Bearer {KEY}"}
    assert client.post("/v1/search", json={"query": "x"}, headers=foreign).status_code == 403


def test_the_document_offers_the_key_where_it_is_asked_for(client: TestClient, tmp_path: Path) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert document["security"] == [{"key": []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/search"]["post"]
    open_to_all = TestClient(app_of(tmp_path / "open"), HERE).get("/openapi.json").json()
    assert "security" not in open_to_all


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_on_loopback_nothing_is_asked_for(tmp_path: Path, host: str) -> None:
    with TestClient(app_of(tmp_path, rag_host=host), HERE) as client:
        assert client.get("/v1/repositories").status_code == 200
    assert not (tmp_path / "api_key").exists()


async def test_beyond_loopback_the_key_that_was_made_is_asked_for_and_no_log_holds_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = app_of(tmp_path, rag_host="0.0.0.0")
    key = (tmp_path / "api_key").read_text().strip()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://any") as http:
        told = [(await http.get("/v1/repositories")).status_code]
        told += [(await http.get("/v1/jobs/x", headers={"authorization": f"Bearer {key}x"})).status_code]
        told += [(await http.post("/v1/search", headers={"authorization": f"Bearer {key}"})).status_code]
    assert told == [401, 401, 422]
    seen = "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert str(tmp_path / "api_key") in seen
    assert "docker compose exec rag-server code-assistant key" in seen
    assert key not in seen
