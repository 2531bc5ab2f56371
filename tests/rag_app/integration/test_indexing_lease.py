"""One indexer at a time, whoever dies."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from rag_app.core.models import EmbeddedChunk
from rag_app.db.alive import kernel
from rag_app.db.manifest import Manifest
from rag_app.db.records import Source
from rag_app.features.indexing.chunking import chunker, units
from rag_app.features.indexing.lease import Lease
from rag_app.features.indexing.router import _events
from service_kit.errors import Unavailable
from tests.support.indexing import Indexer

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

ROOT = Path(__file__).resolve().parents[3]


# A process that takes the lease, says so, and holds it until its input ends; it says no where another has it.
HOLDER = """
import os, sys
from pathlib import Path
from rag_app.db.manifest import Manifest
from rag_app.features.indexing.lease import Lease

manifest = Manifest(Path(sys.argv[1]) / "manifest.sqlite")
manifest.open()
lease = Lease(manifest.jobs, Path(sys.argv[1]))
for _ in sys.stdin:
    print(os.getpid(), lease.take(), flush=True)
"""

# What Docker gives a container: process numbers and a host's name of its own, here the same ones for each.
AS_ROOT = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
UNSHARE = ["unshare", *AS_ROOT, "--pid", "--fork", "--kill-child", "--uts", "sh", "-c"]
CONTAINER = [*UNSHARE, 'hostname rag-indexer && exec "$0" "$@"']


@contextmanager
def holder(folder: Path, *container: str) -> Iterator[subprocess.Popen[str]]:
    command = [*container, sys.executable, "-c", HOLDER, str(folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    try:
        yield process
    finally:
        killed(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()


def killed(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    assert process.stdout is not None
    process.stdout.read()  # it ends with the last process of the group, which may be another than ours


def take(process: subprocess.Popen[str]) -> tuple[int, bool]:
    """(its own number as it sees it, whether it has the lease)."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("take\n")
    process.stdin.flush()
    number, answer = process.stdout.readline().split()
    return int(number), answer == "True"


def test_a_killed_process_of_this_machine_is_not_waited_for(manifest: Manifest, tmp_path: Path) -> None:
    mine = Lease(manifest.jobs, tmp_path)
    with holder(tmp_path) as other:
        assert take(other)[1]
        assert not mine.take()
        killed(other)
        assert mine.take()


def test_containers_that_all_are_process_1_of_one_hostname_know_each_other_apart(tmp_path: Path) -> None:
    if sys.platform != "linux" or subprocess.run([*UNSHARE, "true"], check=False).returncode:
        pytest.skip("this system lets no ordinary process have a process table of its own")
    with holder(tmp_path, *CONTAINER) as first, holder(tmp_path, *CONTAINER) as second:
        assert take(first) == (1, True)
        assert take(second) == (1, False)
        assert take(first) == (1, True)
        killed(first)
        assert take(second) == (1, True)  # at once, and no number of the other's table was looked at
        with holder(tmp_path, *CONTAINER) as again:
            assert take(again) == (1, False)  # the first one's container, restarted
            killed(second)
            assert take(again) == (1, True)


@pytest.mark.parametrize(
    "name", ["elsewhere/{dead}", "{kernel}/../manifest.sqlite", "{kernel}/", "host/1/x", "nonsense"]
)
def test_a_holder_of_another_machine_or_an_unreadable_one_is_waited_for(
    manifest: Manifest, tmp_path: Path, name: str
) -> None:
    told = name.format(kernel=kernel(), dead="f" * 32)
    assert manifest.jobs.take_lease("indexer", told, 600)
    assert not Lease(manifest.jobs, tmp_path).take()
    assert (tmp_path / "manifest.sqlite").exists()


def test_a_lease_given_back_is_anybodys(manifest: Manifest, tmp_path: Path) -> None:
    first, second = Lease(manifest.jobs, tmp_path), Lease(manifest.jobs, tmp_path)
    assert first.take()
    assert not second.take()
    first.give_back()
    assert second.take()
    second.give_back()
    assert list((tmp_path / "indexers").iterdir()) == []


def test_a_holder_whose_mark_was_deleted_sets_it_again_when_it_renews(manifest: Manifest, tmp_path: Path) -> None:
    first, second = Lease(manifest.jobs, tmp_path), Lease(manifest.jobs, tmp_path)
    assert first.take()
    shutil.rmtree(tmp_path / "indexers")
    assert first.take()
    assert not second.take()


def test_marks_of_processes_that_waited_in_vain_and_were_killed_are_swept(manifest: Manifest, tmp_path: Path) -> None:
    mine = Lease(manifest.jobs, tmp_path)
    with holder(tmp_path) as leased, holder(tmp_path) as waits:
        assert take(leased)[1]
        assert not take(waits)[1]
        killed(leased)
        killed(waits)
    assert len(list((tmp_path / "indexers").iterdir())) == 2
    assert mine.take()
    (mark,) = (tmp_path / "indexers").iterdir()
    assert mark.read_text() == f"{socket.gethostname()} {os.getpid()}\n"


def test_a_folder_that_cannot_be_marked_is_told_in_words(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "indexers").write_text("")
    with pytest.raises(Unavailable, match=r"cannot mark this process as alive: .*DATA_DIR"):
        Lease(manifest.jobs, tmp_path).take()


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
