"""The routes of repositories and jobs, over real HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from rag_app.features.indexing.router import indexing_router
from service_kit.app import create_service
from service_kit.metrics import HttpMetrics
from tests.support.indexing import Indexer, running_indexer

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


class Server:
    def __init__(self, indexer: Indexer, client: AsyncClient):
        self.indexer = indexer
        self.client = client
        self.hidden: set[str] = set()

    def scope(self) -> frozenset[str]:
        return self.indexer.manifest.all_ids() - self.hidden

    async def indexed(self, **changes: Any) -> dict[str, Any]:
        body = {"source": {"type": "path", "path": str(self.indexer.root)}, **changes}
        answer = await self.client.post("/v1/repositories", json=body)
        assert answer.status_code == 202, answer.text
        accepted: dict[str, Any] = answer.json()
        await self.indexer.finished(self.indexer.manifest.jobs.get(accepted["job"]["id"]))
        return accepted


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Server]:
    async def ready() -> list[Any]:
        return []

    async with running_indexer(folder) as indexer:
        app: FastAPI = create_service(
            "rag_app", readiness=ready, metrics=HttpMetrics("rag_app"), max_body_bytes=100_000
        )
        async with AsyncClient(transport=ASGITransport(app), base_url="http://t", timeout=30) as client:
            server = Server(indexer, client)
            app.include_router(indexing_router(indexer.service, server.scope))
            (indexer.root / "a.py").write_text("def a():\n    return 1\n")
            yield server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as server:
        yield server


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


async def test_a_folder_is_registered_indexed_and_shown(server: Server) -> None:
    accepted = await server.indexed(name="mine", exclude=["*.md"])
    repository, job = accepted["repository"], accepted["job"]
    assert repository["source"] == {"type": "path", "path": str(server.indexer.root)}
    assert (repository["name"], repository["state"], repository["indexed_at"]) == ("mine", "indexing", None)
    assert (job["state"], job["kind"], job["repository"], job["error"]) == ("queued", "index", repository["id"], None)

    shown = (await server.client.get(f"/v1/repositories/{repository['id']}")).json()
    assert (shown["state"], shown["files"], shown["chunks"], shown["skipped"]) == ("ready", 1, 1, {})
    assert shown["exclude"] == ["*.md"]
    assert shown["indexed_at"].endswith("Z")
    assert (await server.client.get("/v1/repositories")).json() == {"repositories": [shown]}

    done = (await server.client.get(f"/v1/jobs/{job['id']}")).json()
    assert done["state"] == "succeeded"
    assert done["progress"] | {"elapsed_ms": 0} == {
        "files_done": 1, "files_total": 1, "chunks_done": 1, "chunks_embedded": 1, "chunks_reused": 0, "elapsed_ms": 0,
    }  # fmt: skip
    assert done["finished_at"] >= done["created_at"]


async def test_a_sync_is_a_new_job_of_the_same_repository(server: Server) -> None:
    first = await server.indexed()
    answer = await server.client.post(f"/v1/repositories/{first['repository']['id']}/sync")
    assert answer.status_code == 202
    second = answer.json()
    assert second["repository"]["id"] == first["repository"]["id"]
    assert second["job"]["id"] != first["job"]["id"]


async def test_events_tell_a_job_to_its_end(server: Server) -> None:
    accepted = await server.indexed()
    answer = await server.client.get(f"/v1/jobs/{accepted['job']['id']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [block for block in answer.text.replace("\r\n", "\n").split("\n\n") if "event:" in block]
    kinds = [block.split("event: ")[1].split("\n")[0] for block in events]
    assert kinds[-1] == "done"
    assert json.loads(events[-1].split("data: ")[1])["state"] == "succeeded"


async def test_events_of_a_job_that_fails_end_with_the_error(server: Server) -> None:
    server.indexer.tei.failures += [(500, {})] * 10
    accepted = await server.indexed()
    answer = await server.client.get(f"/v1/jobs/{accepted['job']['id']}/events")
    assert "event: error" in answer.text
    assert '"code":"upstream"' in answer.text


async def test_deleting_answers_204_and_then_404(server: Server) -> None:
    accepted = await server.indexed()
    url = f"/v1/repositories/{accepted['repository']['id']}"
    assert (await server.client.delete(url)).status_code == 204
    for answer in (await server.client.delete(url), await server.client.get(url)):
        assert error_of(answer)[:2] == (404, "not_found")
    assert error_of(await server.client.get(f"/v1/jobs/{accepted['job']['id']}"))[:2] == (404, "not_found")


async def test_what_is_not_in_scope_is_like_unknown(server: Server) -> None:
    accepted = await server.indexed()
    identifier, job = accepted["repository"]["id"], accepted["job"]["id"]
    server.hidden.add(identifier)
    assert (await server.client.get("/v1/repositories")).json() == {"repositories": []}
    for method, url in (
        ("GET", f"/v1/repositories/{identifier}"),
        ("DELETE", f"/v1/repositories/{identifier}"),
        ("POST", f"/v1/repositories/{identifier}/sync"),
        ("GET", f"/v1/jobs/{job}"),
        ("GET", f"/v1/jobs/{job}/events"),
    ):
        assert error_of(await server.client.request(method, url))[:2] == (404, "not_found"), url


async def test_a_taken_name_is_a_conflict(server: Server) -> None:
    await server.indexed(name="mine")
    (server.indexer.root / "sub").mkdir()
    body = {"source": {"type": "path", "path": str(server.indexer.root / "sub")}, "name": "mine"}
    status, code, message = error_of(await server.client.post("/v1/repositories", json=body))
    assert (status, code) == (409, "conflict")
    assert "'mine' is taken" in message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ["source"]),
        ({"source": {"type": "path", "path": "/etc"}}, ["'/etc'", "ALLOWED_ROOTS"]),
        ({"source": {"type": "path", "path": "{root}/missing"}}, ["missing", "does not exist"]),
        ({"source": {"type": "path", "path": "{root}/../.."}}, ["ALLOWED_ROOTS"]),
        ({"source": {"type": "path", "path": "x" * 5_000}}, ["source.path.path", "4096"]),
        ({"source": {"type": "path", "url": "https://x.org/a"}}, ["source"]),
        ({"source": {"type": "ftp", "path": "/x"}}, ["source", "ftp"]),
        ({"source": {"type": "git", "url": "file:///etc"}}, ["'file'", "https and ssh"]),
        ({"source": {"type": "git", "url": "git://x.org/a"}}, ["'git'", "https and ssh"]),
        ({"source": {"type": "git", "url": "https://x.org/a"}, "ref": "--upload-pack=x"}, ["ref", "--upload-pack=x"]),
        ({"source": {"type": "path", "path": "{root}"}, "nmae": "x"}, ["nmae"]),
        ({"source": {"type": "path", "path": "{root}"}, "name": ""}, ["name"]),
        ({"source": {"type": "path", "path": "{root}"}, "name": "x" * 101}, ["name", "100"]),
        ({"source": {"type": "path", "path": "{root}"}, "include": [""]}, ["include"]),
        ({"source": {"type": "path", "path": "{root}"}, "include": ["x"] * 101}, ["include", "100"]),
        ({"source": {"type": "path", "path": "{root}"}, "include": ["[z-a]"]}, ["include", "'[z-a]'"]),
        ({"source": {"type": "path", "path": "{root}"}, "exclude": ["a", "!"]}, ["exclude", "'!'"]),
    ],
)
async def test_a_bad_registration_names_the_value_and_the_limit(
    server: Server, body: dict[str, Any], words: list[str]
) -> None:
    given = json.loads(json.dumps(body).replace("{root}", str(server.indexer.root)))
    status, code, message = error_of(await server.client.post("/v1/repositories", json=given))
    assert (status, code) == (422, "validation")
    for word in words:
        assert word in message
    assert server.scope() == frozenset()


async def test_a_body_that_is_not_json_is_refused(server: Server) -> None:
    answer = await server.client.post(
        "/v1/repositories", content=b"{not json", headers={"content-type": "application/json"}
    )
    assert error_of(answer)[:2] == (422, "validation")
