"""What a Qdrant cluster is asked for: bodies as they cross the wire, held to Qdrant's own models."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI, Request
from pydantic import ValidationError
from qdrant_client import AsyncQdrantClient, models
from starlette.responses import JSONResponse

from rag_app.core.models import EmbeddedChunk, ModelIdentity, SparseVector
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import Arm, ChunkStore
from rag_app.db.filters import Selection
from service_kit.errors import ServiceError
from tests.support.chunks import make_chunk
from tests.support.live import live
from tests.support.stack import Stack, environment

IDENTITY = ModelIdentity("toy", 3, 256, "a" * 64)
EVERYTHING = Selection(frozenset({"r1"}), frozenset({"base"}))
CHUNK = EmbeddedChunk(make_chunk("a.py", "a = 1"), (1.0, 0.0, 0.0), SparseVector((7,), (2.0,)))
ARMS = [Arm((1.0, 0.0, 0.0), 5), Arm(SparseVector((7,), (2.0,)), 5)]

LARGE: dict[str, Any] = {
    "qdrant_shards": 6,
    "qdrant_replicas": 2,
    "qdrant_write_consistency": 2,
    "qdrant_write_ordering": "medium",
    "qdrant_read_consistency": "majority",
    "qdrant_quantization": "int8",
    "qdrant_oversampling": 3.0,
    "qdrant_vectors_on_disk": True,
    "qdrant_payload_on_disk": True,
    "qdrant_hnsw_m": 32,
}


@dataclass
class RecordingQdrant:
    """Answers that all went well and that nothing is there; remembers (method, path, query, body)."""

    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.api_route("/{path:path}", methods=["GET", "POST", "PUT"])
        async def answer(path: str, request: Request) -> JSONResponse:
            raw = await request.body()
            self.asked.append((request.method, path, dict(request.query_params), orjson.loads(raw) if raw else None))
            results: dict[str, Any] = {  # by the last part of the path
                "aliases": {"aliases": []} if request.method == "GET" else True,
                "exists": {"exists": False},
                "batch": [{"points": []}, {"points": []}],
                "query": {"points": []},
                "scroll": {"points": [], "next_page_offset": None},
                "delete": {"operation_id": 1, "status": "completed"},
                "index": {"operation_id": 1, "status": "completed"},
            }
            last = path.rpartition("/")[2]
            done = {"operation_id": 1, "status": "completed"} if request.method == "PUT" and last == "points" else True
            result = [] if (request.method, last) == ("POST", "points") else results.get(last, done)
            return JSONResponse({"result": result, "status": "ok", "time": 0.0})

        return app

    def of(self, method: str, ending: str) -> tuple[dict[str, str], Any]:
        """(query, body) of the last such request."""
        return next((q, body) for m, path, q, body in reversed(self.asked) if m == method and path.endswith(ending))


@pytest.fixture
def qdrant() -> Iterator[tuple[RecordingQdrant, int]]:
    recording = RecordingQdrant()
    with live(recording.app()) as url:
        yield recording, int(url.rpartition(":")[2])


def store_of(port: int, **settings: Any) -> ChunkStore:
    return ChunkStore(RagSettings(_env_file=None, qdrant_port=port, **settings))


def created(recording: RecordingQdrant) -> models.CreateCollection:
    _, body = recording.of("PUT", f"code_v1_{'a' * 12}")
    return models.CreateCollection.model_validate(body)


async def test_a_cluster_gets_its_shards_copies_and_quantised_vectors_at_creation(
    qdrant: tuple[RecordingQdrant, int],
) -> None:
    recording, port = qdrant
    await store_of(port, **LARGE).prepare(IDENTITY)
    asked = created(recording)
    assert (asked.shard_number, asked.replication_factor, asked.write_consistency_factor) == (6, 2, 2)
    assert asked.on_disk_payload is True
    assert isinstance(asked.vectors, dict)
    dense = asked.vectors["dense"]
    assert (dense.size, dense.distance, dense.on_disk) == (3, models.Distance.COSINE, True)
    assert dense.hnsw_config == models.HnswConfigDiff(m=32)
    assert dense.quantization_config == models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    )
    _, tenant = next(
        (q, b) for _, p, q, b in recording.asked if p.endswith("index") and b["field_name"] == "repository"
    )
    assert tenant["field_schema"]["is_tenant"] is True


async def test_binary_vectors_are_asked_for_by_name(qdrant: tuple[RecordingQdrant, int]) -> None:
    recording, port = qdrant
    await store_of(port, qdrant_quantization="binary").prepare(IDENTITY)
    asked = created(recording)
    assert isinstance(asked.vectors, dict)
    assert asked.vectors["dense"].quantization_config == models.BinaryQuantization(
        binary=models.BinaryQuantizationConfig(always_ram=True)
    )


async def test_what_is_not_set_is_not_sent(qdrant: tuple[RecordingQdrant, int]) -> None:
    recording, port = qdrant
    store = store_of(port)
    await store.prepare(IDENTITY)
    await store.upsert([CHUNK])
    await store.query(ARMS, EVERYTHING)
    _, body = recording.of("PUT", f"code_v1_{'a' * 12}")
    told = {key: value for key, value in body.items() if value is not None}
    dense = {key: value for key, value in told.pop("vectors")["dense"].items() if value is not None}
    assert (told, dense) == ({"sparse_vectors": {"sparse": {}}}, {"size": 3, "distance": "Cosine"})
    assert "ordering" not in recording.of("PUT", "/points")[0]
    query, body = recording.of("POST", "/query/batch")
    assert query == {}
    assert all("params" not in search for search in body["searches"])


async def test_writes_are_ordered_and_reads_consistent_as_set(qdrant: tuple[RecordingQdrant, int]) -> None:
    recording, port = qdrant
    store = store_of(port, **LARGE)
    await store.upsert([CHUNK])
    assert recording.of("PUT", "/points")[0]["ordering"] == "medium"
    await store.delete_blobs("r1", "base", [("a.py", "b")])
    assert recording.of("POST", "/points/delete")[0]["ordering"] == "medium"
    await store.query(ARMS, EVERYTHING)
    assert recording.of("POST", "/query/batch")[0] == {"consistency": "majority"}
    await store.scored((1.0, 0.0, 0.0), [CHUNK.chunk.id], frozenset({"r1"}))
    assert recording.of("POST", "/points/query")[0] == {"consistency": "majority"}
    await store.retrieve([CHUNK.chunk.id], frozenset({"r1"}))
    assert recording.of("POST", "/points")[0] == {"consistency": "majority"}
    await store.named(EVERYTHING, 3)
    assert recording.of("POST", "/scroll")[0]["consistency"] == "majority"
    await store_of(port, qdrant_replicas=3, qdrant_read_consistency="2").query(ARMS, EVERYTHING)
    assert recording.of("POST", "/query/batch")[0] == {"consistency": "2"}


async def test_quantised_candidates_are_ranked_by_whole_vectors_and_words_are_left_alone(
    qdrant: tuple[RecordingQdrant, int],
) -> None:
    recording, port = qdrant
    store = store_of(port, **LARGE)
    await store.query(ARMS, EVERYTHING)
    dense, sparse = models.QueryRequestBatch.model_validate(recording.of("POST", "/query/batch")[1]).searches
    wanted = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True, oversampling=3.0))
    assert (dense.params, sparse.params) == (wanted, None)
    await store.scored((1.0, 0.0, 0.0), [CHUNK.chunk.id], frozenset({"r1"}))
    assert models.QueryRequest.model_validate(recording.of("POST", "/points/query")[1]).params == wanted


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
async def test_qdrants_own_engine_takes_all_of_it_and_finds_the_same() -> None:
    plain = ChunkStore(RagSettings(_env_file=None), AsyncQdrantClient(":memory:"))
    large = ChunkStore(RagSettings(_env_file=None, **LARGE), AsyncQdrantClient(":memory:"))
    found = []
    for store in (plain, large):
        await store.prepare(IDENTITY)
        await store.upsert([CHUNK])
        found.append(await store.query(ARMS, Selection(frozenset({CHUNK.chunk.repository}), frozenset({"base"}))))
        await store.close()
    assert found[0] == found[1]
    assert [len(arm) for arm in found[0]] == [1, 1]


def test_more_acknowledgements_than_copies_are_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match=r"QDRANT_WRITE_CONSISTENCY is 3, but there are 2 copies"):
        RagSettings(_env_file=None, qdrant_replicas=2, qdrant_write_consistency=3)


async def test_vector_db_says_in_words_what_it_has_not(tmp_path: Path) -> None:
    stack = Stack(tmp_path, environment(tmp_path, {}))
    stack.start("vector_db")
    try:
        stack.wait_for("QDRANT_PORT")
        port = int(stack.env["QDRANT_PORT"])
        for setting, told in (
            ({"qdrant_shards": 6}, "shard_number = 6"),
            ({"qdrant_replicas": 2}, "replication_factor = 2"),
            ({"qdrant_quantization": "int8"}, "quantization"),
        ):
            store = store_of(port, **setting)
            with pytest.raises(ServiceError, match=told):
                await store.prepare(IDENTITY)
            await store.close()
        await store_of(port, qdrant_shards=1, qdrant_replicas=1).prepare(IDENTITY)
    finally:
        stack.stop("vector_db")
