"""One indexer at a time, whoever dies."""

import asyncio
import json
import os
import socket
import subprocess
import sys

import pytest

from rag_app.core.models import EmbeddedChunk
from rag_app.db.manifest import Manifest
from rag_app.db.records import Source
from rag_app.features.indexing.chunking import chunker, units
from rag_app.features.indexing.lease import Lease
from rag_app.features.indexing.router import _events
from tests.support.indexing import Indexer

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


def dead_pid() -> int:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return int(done.stdout)


def test_a_dead_process_of_this_machine_is_not_waited_for(manifest: Manifest) -> None:
    assert manifest.jobs.take_lease("indexer", f"{socket.gethostname()}/{dead_pid()}/x", 600)
    assert Lease(manifest.jobs).take()


@pytest.mark.parametrize("holder", ["{host}/{pid}/x", "{host}/1/x", "elsewhere/{dead}/x", "nonsense"])
def test_a_holder_that_may_be_alive_is_waited_for(manifest: Manifest, holder: str) -> None:
    name = holder.format(host=socket.gethostname(), pid=os.getpid(), dead=dead_pid())
    assert manifest.jobs.take_lease("indexer", name, 600)
    assert not Lease(manifest.jobs).take()


def test_a_lease_given_back_is_anybodys(manifest: Manifest) -> None:
    first, second = Lease(manifest.jobs), Lease(manifest.jobs)
    assert first.take()
    assert not second.take()
    first.give_back()
    assert second.take()


async def test_a_process_that_lost_the_lease_stops_its_run_and_leaves_the_job_to_the_other(
    indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_app.features.indexing.worker.RENEWED_EVERY_S", 0.05)
    begun, cancelled = asyncio.Event(), asyncio.Event()
    upsert = indexer.store.upsert

    async def hangs(chunks: list[EmbeddedChunk]) -> None:
        begun.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    monkeypatch.setattr(indexer.store, "upsert", hangs)
    (indexer.root / "a.py").write_text("a = 1\n")
    _, job = await indexer.service.register(Source("path", str(indexer.root)))
    await asyncio.wait_for(begun.wait(), 20)
    jobs = indexer.manifest.jobs
    holder = jobs.lease_holder("indexer")
    assert holder is not None
    with indexer.manifest._database.transaction() as connection:
        connection.execute("UPDATE leases SET holder = 'elsewhere/1/x'")
    await asyncio.wait_for(cancelled.wait(), 20)
    await asyncio.sleep(0.2)
    assert jobs.get(job.id).state == "running"
    assert indexer.manifest.files.of(job.repository) == {}

    monkeypatch.setattr(indexer.store, "upsert", upsert)
    jobs.give_lease("indexer", "elsewhere/1/x")
    repository, done = await indexer.finished(job)
    assert done.state == "succeeded"
    assert len(await indexer.chunks(repository.id)) == 1


async def test_the_same_bytes_in_fewer_chunks_leave_no_point_behind(
    indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (indexer.root / "a.md").write_text("# A\n\nwords\n\n## B\n\nwords\n\n## C\n\nwords\n")
    with monkeypatch.context() as patch:
        patch.setattr(units, "SMALL_TOKENS", 0)
        repository, _ = await indexer.index()
        assert len(await indexer.points(repository.id)) == 3
    monkeypatch.setattr(chunker, "VERSION", chunker.VERSION + 1)
    repository, _ = await indexer.index()
    assert [chunk.qualified_name for chunk in await indexer.points(repository.id)] == ["A"]
    assert repository.chunks == 1


async def test_a_watcher_of_a_job_that_goes_with_its_repository_is_told(indexer: Indexer) -> None:
    await indexer.service.stop()
    _, job = await indexer.service.register(Source("path", str(indexer.root)))
    events = _events(indexer.service.events(job.id, indexer.manifest.all_ids()))
    first = await anext(events)
    assert first.event == "progress"
    await indexer.service.delete(job.repository, indexer.manifest.all_ids())
    (last,) = [event async for event in events]
    told = json.loads(last.data)
    assert last.event == "error"
    assert told["error"] == {"code": "not_found", "message": f"no job {job.id!r}; it may have gone with its repository"}
    assert (told["id"], told["state"], told["finished_at"][-1]) == (job.id, "failed", "Z")
    assert told.keys() == json.loads(first.data).keys()
