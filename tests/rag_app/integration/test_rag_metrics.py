"""What /metrics of the RAG server says after real searches, answers and index runs."""

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from qdrant_client import AsyncQdrantClient

from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.features.generation.prompt import NOT_FOUND
from rag_app.main import create_app
from tests.support.fake_tei import FakeTei
from tests.support.live import live
from tests.support.scripted_llm import ScriptedLlm

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

CODE = "def close_pool(pool):\n    '''Close the pool of connections.'''\n    pool.close()\n"
QUESTION = {"question": "how is the pool of connections closed? close_pool"}


@dataclass
class Server:
    """The RAG server over a store in memory, a toy model and a scripted one."""

    client: httpx.AsyncClient
    tei: FakeTei
    llm: ScriptedLlm
    data: Path
    project: Path

    async def told(self) -> dict[str, float]:
        lines = (await self.client.get("/metrics")).text.splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    async def index(self) -> str:
        """Index the project; the job's last state."""
        body = {"source": {"type": "path", "path": str(self.project)}}
        job = (await self.client.post("/v1/repositories", json=body)).json()["job"]
        deadline = time.monotonic() + 60
        while job["state"] in ("queued", "running"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)  # a request in this process need not let another task run
            job = (await self.client.get(f"/v1/jobs/{job['id']}")).json()
        return str(job["state"])


@pytest.fixture
def tei() -> FakeTei:
    return FakeTei(max_input_length=256, max_client_batch_size=64)


@pytest.fixture
def llm() -> ScriptedLlm:
    return ScriptedLlm()


@pytest.fixture
def urls(tei: FakeTei, llm: ScriptedLlm) -> Iterator[tuple[str, str]]:
    with live(tei.app()) as embedding, live(llm.app()) as model:
        yield embedding, f"{model}/v1"


@pytest.fixture
async def server(tmp_path: Path, tei: FakeTei, llm: ScriptedLlm, urls: tuple[str, str]) -> AsyncIterator[Server]:
    project, data = tmp_path / "project", tmp_path / "data"
    project.mkdir()
    (project / "pool.py").write_text(CODE)
    settings = RagSettings(
        _env_file=None, data_dir=data, allowed_roots=str(tmp_path), embedding_url=urls[0], llm_url=urls[1]
    )
    app = create_app(settings, store=ChunkStore(settings, AsyncQdrantClient(":memory:")))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60) as client,
    ):
        yield Server(client, tei, llm, data, project)


async def test_a_search_is_counted_by_mode_with_its_duration_and_its_parts(server: Server) -> None:
    before = await server.told()
    assert before['rag_searches_total{mode="hybrid",outcome="ok"}'] == 0
    assert await server.index() == "succeeded"
    await server.client.post("/v1/search", json={"query": "close_pool"})
    told = await server.told()
    assert told['rag_searches_total{mode="hybrid",outcome="ok"}'] == 1
    assert told['rag_search_duration_seconds_count{mode="hybrid"}'] == 1
    for part in ("manifest", "embedding", "index", "rank", "fetch"):
        assert told[f'rag_search_part_seconds_count{{part="{part}"}}'] == 1, part
    assert told['rag_degraded_total{dependency="embedding"}'] == 0


async def test_a_search_that_fails_is_counted_by_its_word_and_has_no_duration(server: Server) -> None:
    await server.index()
    server.tei.failures = [(503, {})] * 20
    assert (await server.client.post("/v1/search", json={"query": "close", "mode": "dense"})).status_code == 503
    told = await server.told()
    assert told['rag_searches_total{mode="dense",outcome="unavailable"}'] == 1
    assert 'rag_search_duration_seconds_count{mode="dense"}' not in told


async def test_searches_and_answers_that_do_without_a_dependency_are_counted_by_it(server: Server) -> None:
    await server.index()
    server.tei.failures = [(503, {})] * 20
    await server.client.post("/v1/search", json={"query": "close_pool"})
    assert (await server.told())['rag_degraded_total{dependency="embedding"}'] == 1
    server.tei.failures = []
    server.llm.failures = [(500, {"error": {"message": "no"}})] * 20
    answer = (await server.client.post("/v1/ask", json=QUESTION)).json()
    assert (answer["mode"], answer["degraded"]) == ("extractive", ["llm"])
    told = await server.told()
    assert told['rag_degraded_total{dependency="llm"}'] == 1
    assert told['rag_answers_total{kind="extractive",outcome="ok",request="ask"}'] == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_answers_are_counted_by_kind_and_only_a_models_stream_has_a_first_token(
    server: Server, stream: bool
) -> None:
    await server.index()
    server.llm.will_say("It calls close [1].")
    async with server.client.stream("POST", "/v1/ask", json={**QUESTION, "stream": stream}) as answer:
        await answer.aread()
    told = await server.told()
    assert told['rag_answers_total{kind="generative",outcome="ok",request="ask"}'] == 1
    assert told['rag_answer_duration_seconds_count{kind="generative",request="ask"}'] == 1
    assert told.get('rag_time_to_first_token_seconds_count{request="ask"}') == (1 if stream else None)
    server.llm.will_say(NOT_FOUND)
    await server.client.post("/v1/ask", json=QUESTION)
    assert (await server.told())['rag_answers_total{kind="abstained",outcome="ok",request="ask"}'] == 1


async def test_a_stream_that_breaks_off_is_counted_as_a_failure(server: Server) -> None:
    server.llm.failures = [(500, {"error": {"message": "no"}})]
    await server.index()
    async with server.client.stream(
        "POST", "/v1/generate", json={"instruction": "close_pool twice", "language": "python", "stream": True}
    ) as answer:
        await answer.aread()
    assert (await server.told())['rag_answers_total{kind="none",outcome="upstream",request="generate"}'] == 1


async def test_generated_code_is_counted(server: Server) -> None:
    await server.index()
    server.llm.will_say("```python\nclose_pool(None)\n```")
    body = {"instruction": "close_pool twice", "language": "python"}
    assert (await server.client.post("/v1/generate", json=body)).status_code == 200
    assert (await server.told())['rag_answers_total{kind="code",outcome="ok",request="generate"}'] == 1


async def test_what_is_indexed_is_told_from_the_manifest(server: Server) -> None:
    empty = await server.told()
    assert empty["rag_index_chunks"] == empty["rag_index_oldest_sync_timestamp_seconds"] == 0
    begun = time.time()
    await server.index()
    told = await server.told()
    assert told['rag_repositories{state="ready"}'] == 1
    assert (told["rag_index_files"], told["rag_index_chunks"]) == (1, 1)
    assert begun - 1 < told["rag_index_oldest_sync_timestamp_seconds"] < time.time() + 1
    assert told['rag_index_jobs{state="running"}'] == told['rag_index_jobs{state="queued"}'] == 0
    assert told['rag_index_jobs_ended_total{state="succeeded"}'] == 1
    assert told["rag_indexer"] == 1
    assert told["rag_index_job_progress_age_seconds"] == 0


async def test_a_repository_that_never_was_synced_is_as_old_as_its_registration(server: Server) -> None:
    (server.project / "pool.py").unlink()
    server.project.rmdir()
    os.symlink("/nowhere", server.project)
    await server.client.post("/v1/repositories", json={"source": {"type": "git", "url": "https://127.0.0.1:9/x.git"}})
    told = await server.told()
    assert abs(told["rag_index_oldest_sync_timestamp_seconds"] - time.time()) < 60


async def test_a_job_that_fails_marks_its_repository_until_it_succeeds(server: Server) -> None:
    await server.index()
    hidden = server.project.rename(server.project.with_name("hidden"))
    repository = (await server.client.get("/v1/repositories")).json()["repositories"][0]["id"]
    await server.client.post(f"/v1/repositories/{repository}/sync")
    await _until(server, 'rag_repositories{state="failed"}', 1)
    assert (await server.told())['rag_index_jobs_ended_total{state="failed"}'] == 1
    hidden.rename(server.project)
    await server.index()
    await _until(server, 'rag_repositories{state="failed"}', 0)


async def test_the_last_backup_is_told_by_its_note(server: Server) -> None:
    assert (await server.told())["rag_backup_last_success_timestamp_seconds"] == 0
    (server.data / "last_backup.json").write_text(json.dumps({"finished_at": 1234.5, "folder": "/b", "chunks": 1}))
    assert (await server.told())["rag_backup_last_success_timestamp_seconds"] == 1234.5
    (server.data / "last_backup.json").write_text("torn")
    assert (await server.told())["rag_backup_last_success_timestamp_seconds"] == 0


async def test_a_scrape_tells_readiness_and_asks_no_language_model(server: Server) -> None:
    told = await server.told()
    assert told['service_check_ok{check="qdrant"}'] == told['service_check_ok{check="embedding"}'] == 1
    assert 'service_check_ok{check="llm"}' not in told
    await server.client.get("/readyz")
    assert (await server.told())['service_check_ok{check="llm"}'] == 1


async def test_a_manifest_that_cannot_be_read_leaves_the_other_metrics(server: Server) -> None:
    with sqlite3.connect(server.data / "manifest.sqlite") as broken:
        broken.execute("ALTER TABLE jobs RENAME TO lost")
    assert (await server.told())["service_ready"] == 1


async def _until(server: Server, metric: str, value: float) -> None:
    deadline = time.monotonic() + 60
    while (await server.told())[metric] != value:
        assert time.monotonic() < deadline, metric
        await asyncio.sleep(0.02)
