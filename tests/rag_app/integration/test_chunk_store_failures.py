"""What the chunk store makes of a Qdrant that fails, over real HTTP."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from fastapi import FastAPI, Request
from pydantic import SecretStr
from starlette.responses import Response

from rag_app.core.models import Scope, SparseVector
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import Arm, ChunkStore
from rag_app.db.filters import Selection
from service_kit.context import REQUEST_ID_HEADER, request_id
from service_kit.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable, Upstream
from tests.support.live import free_port, live

SCOPE: Scope = frozenset({"r1"})
CHUNK_ID = "00000000-0000-0000-0000-000000000001"
ASKED = [Arm((1.0, 0.0), 3), Arm(SparseVector((7,), (2.0,)), 3)]
EVERYTHING = Selection(SCOPE, frozenset({"base"}))
NOTHING = b'{"result": [], "status": "ok", "time": 0.0}'
NO_POINTS = b'{"result": {"points": []}, "status": "ok", "time": 0.0}'


@dataclass
class FailingQdrant:
    """Answers `failures` first, (status, body, headers), and then finds nothing."""

    failures: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    calls: int = 0
    keys: list[str | None] = field(default_factory=list)
    request_ids: list[str | None] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.api_route("/{path:path}", methods=["GET", "POST", "PUT"])
        async def answer(path: str, request: Request) -> Response:
            self.calls += 1
            self.keys.append(request.headers.get("api-key"))
            self.request_ids.append(request.headers.get(REQUEST_ID_HEADER))
            nothing = NO_POINTS if path.endswith("scroll") else NOTHING
            status, body, headers = self.failures.pop(0) if self.failures else (200, nothing, {})
            return Response(body, status, headers, "application/json")

        return app


@pytest.fixture
def qdrant() -> FailingQdrant:
    return FailingQdrant()


@pytest.fixture
def store(qdrant: FailingQdrant) -> Iterator[ChunkStore]:
    with live(qdrant.app()) as url:
        yield ChunkStore(RagSettings(_env_file=None, qdrant_port=int(url.rsplit(":", 1)[1])))


@pytest.mark.parametrize(
    ("status", "headers", "error", "words"),
    [
        (404, {}, Unavailable, "sync a repository"),
        (429, {}, Overloaded, "busy"),
        (429, {"retry-after": "7"}, Overloaded, "busy"),
        (401, {}, Upstream, "QDRANT_API_KEY"),
        (403, {}, Upstream, "QDRANT_API_KEY"),
        (400, {}, Upstream, "400"),
        (500, {}, Upstream, "500"),
        (503, {}, Unavailable, "not ready"),
    ],
)
async def test_a_status_becomes_a_word(
    store: ChunkStore,
    qdrant: FailingQdrant,
    status: int,
    headers: dict[str, str],
    error: type[ServiceError],
    words: str,
) -> None:
    qdrant.failures = [(status, b'{"status": {"error": "because"}}', headers)] * 2
    with pytest.raises(error, match=words) as caught:
        await store.named(EVERYTHING, 10)
    if headers:
        assert caught.value.retry_after_s == int(headers["retry-after"])


async def test_an_answer_of_another_shape_is_upstreams_fault(store: ChunkStore, qdrant: FailingQdrant) -> None:
    for call in (
        store.named(EVERYTHING, 10),
        store.retrieve([CHUNK_ID], SCOPE),
        store.scored((1.0, 0.0), [CHUNK_ID], SCOPE),
    ):
        qdrant.failures = [(200, b'{"result": "nonsense"}', {})]
        with pytest.raises(Upstream, match="something else than its API says"):
            await call
    await store.close()


async def test_an_answer_that_is_no_json_is_upstreams_fault(store: ChunkStore, qdrant: FailingQdrant) -> None:
    qdrant.failures = [(200, b"<html>a proxy's page", {})]
    with pytest.raises(Upstream, match="not JSON"):
        await store.named(EVERYTHING, 10)
    await store.close()


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (404, b"{}", Unavailable, "sync a repository"),
        (400, b"{}", Upstream, "400"),
        (503, b"{}", Unavailable, "503"),
        (200, b'{"result": [{"hits": []}]}', Upstream, "something else than its API says"),
        (200, b'{"result": null}', Upstream, "something else than its API says"),
    ],
)
async def test_a_query_fails_in_the_same_words(
    store: ChunkStore, qdrant: FailingQdrant, status: int, body: bytes, error: type[ServiceError], words: str
) -> None:
    for call in (store.query(ASKED, EVERYTHING), store.retrieve([CHUNK_ID], SCOPE)):
        qdrant.failures = [(status, body, {})] * 2
        with pytest.raises(error, match=words):
            await call
    await store.close()


async def test_every_call_carries_the_request_id(store: ChunkStore, qdrant: FailingQdrant) -> None:
    token = request_id.set("trace-7")
    try:
        await store.query(ASKED, EVERYTHING)
        await store.retrieve([CHUNK_ID], SCOPE)
        await store.named(EVERYTHING, 10)
    finally:
        request_id.reset(token)
        await store.close()
    assert qdrant.request_ids == ["trace-7"] * 3


async def test_every_call_carries_the_key(qdrant: FailingQdrant) -> None:
    with live(qdrant.app()) as url:
        port = int(url.rsplit(":", 1)[1])
        store = ChunkStore(RagSettings(_env_file=None, qdrant_port=port, qdrant_api_key=SecretStr("sesame")))
        assert await store.query(ASKED, EVERYTHING) == []
        assert await store.retrieve([CHUNK_ID], SCOPE) == []
        assert await store.named(EVERYTHING, 10) == []
        await store.close()
    assert qdrant.keys == ["sesame"] * 3


async def test_a_restart_is_hidden_by_one_retry(store: ChunkStore, qdrant: FailingQdrant) -> None:
    for call in (store.retrieve([CHUNK_ID], SCOPE), store.named(EVERYTHING, 10)):
        qdrant.failures, qdrant.calls = [(503, b"{}", {})], 0
        assert await call == []
        assert qdrant.calls == 2
    await store.close()


async def test_a_refusal_is_not_retried(store: ChunkStore, qdrant: FailingQdrant) -> None:
    for call in (store.retrieve([CHUNK_ID], SCOPE), store.named(EVERYTHING, 10)):
        qdrant.failures, qdrant.calls = [(400, b"{}", {})] * 5, 0
        with pytest.raises(Upstream):
            await call
        assert qdrant.calls == 1
    await store.close()


async def test_nobody_there_names_the_settings_and_when_to_come_back() -> None:
    store = ChunkStore(RagSettings(_env_file=None, qdrant_port=free_port()))
    for call in (store.ready(), store.count(SCOPE), store.retrieve([CHUNK_ID], SCOPE)):
        with pytest.raises(Unavailable, match="QDRANT_HOST, QDRANT_PORT") as caught:
            await call
        assert caught.value.retry_after_s == 1
    await store.close()


@pytest.mark.parametrize("timeout_s", [0.3, 1.0])
async def test_silence_ends_at_the_deadline(timeout_s: float) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = ChunkStore(RagSettings(_env_file=None, qdrant_port=port, qdrant_timeout_s=timeout_s))
    with pytest.raises(DeadlineExceeded, match=f"within {timeout_s:g} s"):
        await store.ready()
    await store.close()
    server.close()


async def test_a_connection_cut_in_mid_answer_is_unavailable() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    store = ChunkStore(RagSettings(_env_file=None, qdrant_port=server.sockets[0].getsockname()[1]))
    with pytest.raises(Unavailable):
        await store.ready()
    await store.close()
    server.close()
