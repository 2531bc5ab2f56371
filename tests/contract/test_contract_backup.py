"""An index goes out of one kind of store and into the other and back: vector_db (or a server) and the client in memory.

The client in memory stands for a Qdrant server where none can be had: it is Qdrant's own engine for tests.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from qdrant_client import AsyncQdrantClient

from rag_app.core.settings import RagSettings
from rag_app.db.point_store import PointStore
from rag_app.db.points import Points
from service_kit.errors import Conflict, Upstream
from tests.support.whole_index import CHUNKS, Place


@asynccontextmanager
async def place(folder: Path, url: str | None) -> AsyncIterator[Place]:
    parts = urlsplit(url or "http://127.0.0.1:9")
    settings = RagSettings(_env_file=None, qdrant_host=parts.hostname, qdrant_port=parts.port)  # type: ignore[call-arg, arg-type]
    made = Place(folder, settings, None if url else AsyncQdrantClient(":memory:"))
    await made.wipe()
    yield made
    await made.wipe()
    await made.qdrant.close()


@pytest.fixture
async def server(server_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path / "server", server_url) as made:
        yield made


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path / "memory", None) as made:
        yield made


def bits(points: Points) -> tuple[bytes, bytes, bytes]:
    return points.dense.tobytes(), points.indices.tobytes(), points.values.tobytes()


async def test_a_backup_of_a_server_restored_into_it_is_the_same_bit_for_bit(server: Place, tmp_path: Path) -> None:
    await server.fill()
    before = await server.all()
    assert len(before) == CHUNKS
    await server.service.back_up(tmp_path / "backup")
    await server.wipe()
    await server.service.restore(tmp_path / "backup")
    after = await server.all()
    assert (after.ids, after.payloads, bits(after)) == (before.ids, before.payloads, bits(before))


@pytest.mark.parametrize("direction", ["out", "back"])
async def test_a_backup_of_one_kind_of_store_restores_into_the_other(
    server: Place, memory: Place, tmp_path: Path, direction: str
) -> None:
    source, target = (server, memory) if direction == "out" else (memory, server)
    await source.fill()
    await source.service.back_up(tmp_path / "backup")
    await target.service.restore(tmp_path / "backup")
    here, there = await source.all(), await target.all()
    assert len(here) == len(there) == CHUNKS
    assert here.differing(there) == []
    assert there.differing(here) == []


@pytest.mark.parametrize("direction", ["out", "back"])
async def test_a_migration_carries_every_point_and_a_second_only_what_changed(
    server: Place, memory: Place, tmp_path: Path, direction: str
) -> None:
    source, target = (server, memory) if direction == "out" else (memory, server)
    await source.fill()
    moved = await source.service.migrate(target.qdrant)
    assert (moved.points, moved.written, moved.removed) == (CHUNKS, CHUNKS, 0)
    here = await source.all()
    assert here.differing(await target.all()) == []
    changed = here.only([5])
    changed.payloads[0]["text"] = "changed"
    await source.points.upsert(moved.collection, changed)
    await source.points.delete(moved.collection, [here.ids[7], here.ids[CHUNKS - 1]])
    again = await source.service.migrate(target.qdrant)
    assert (again.points, again.written, again.removed) == (CHUNKS - 2, 1, 2)
    assert (await source.all()).differing(await target.all()) == []


async def test_a_migration_that_broke_off_goes_on_where_it_was_and_serves_nothing_before(
    server: Place, memory: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.fill()
    upsert, calls = PointStore.upsert, iter(range(2))

    async def breaking(self: PointStore, name: str, points: Points) -> None:
        if next(calls, None) is None:
            raise Upstream("the connection broke")
        await upsert(self, name, points)

    monkeypatch.setattr(PointStore, "upsert", breaking)
    with pytest.raises(Upstream):
        await server.service.migrate(memory.qdrant)
    assert await memory.collections.target() is None, "half of an index was served"
    monkeypatch.setattr(PointStore, "upsert", upsert)
    moved = await server.service.migrate(memory.qdrant)
    assert (moved.points, moved.written) == (CHUNKS, CHUNKS - 512)


async def test_a_target_that_keeps_other_than_it_was_given_fails_the_verification(
    server: Place, memory: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await memory.fill()
    upsert = PointStore.upsert

    async def cutting(self: PointStore, name: str, points: Points) -> None:
        points.dense[0] = -points.dense[0]
        await upsert(self, name, points)

    monkeypatch.setattr(PointStore, "upsert", cutting)
    with pytest.raises(Upstream, match="not in the target as they were written"):
        await memory.service.migrate(server.qdrant)
    assert await server.collections.target() is None


async def test_a_target_that_serves_another_index_is_left_alone(server: Place, memory: Place) -> None:
    await server.fill()
    await memory.collections.make("backup_contract_v1_ffffffffffff", 24)
    await memory.collections.point_alias("backup_contract_v1_ffffffffffff")
    with pytest.raises(Conflict, match=r"serves 'backup_contract_v1_ffffffffffff' .* already"):
        await server.service.migrate(memory.qdrant)
