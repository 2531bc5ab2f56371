"""Whole runs: what is found after them, whatever happened on the way."""

import asyncio
import os
from pathlib import Path

import pytest

from rag_app.core.models import EmbeddedChunk
from rag_app.core.tokens import term_id
from rag_app.db.manifest import Manifest
from rag_app.db.records import Source
from rag_app.features.indexing import worker
from rag_app.features.indexing.service import IndexingService
from rag_app.features.source.service import SourceService
from service_kit.errors import Conflict, NotFound, Unavailable
from tests.support.indexing import Indexer, old, running_indexer

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

POOL = '''"""A pool."""

import threading


class Pool:
    """Connections."""

    def take(self):
        """Take one out."""
        with self.lock:
            return self.free.pop()

    def close(self):
        for connection in self.free:
            connection.close()


def default_pool():
    return Pool()
'''


def embedded_texts(indexer: Indexer) -> list[str]:
    """Those that the model was asked to embed: they begin with their path; lines to be counted do not."""
    return [text for batch in indexer.tei.batches for text in batch if text.startswith("a.py\n")]


async def test_a_folder_is_indexed_whole(indexer: Indexer) -> None:
    old(indexer.root / "src/pool.py", POOL)
    old(indexer.root / "README.md", "# Pools\n\nTake and close.\n")
    (indexer.root / "logo.png").write_bytes(b"\x89PNG\0\0")
    (indexer.root / "node_modules").mkdir()
    repository, job = await indexer.index()

    assert (job.state, job.error) == ("succeeded", None)
    assert (repository.state, repository.name, repository.files) == ("ready", "root", 2)
    assert repository.skipped == {"binary": 1, "vendored": 1}
    chunks = await indexer.chunks(repository.id)
    assert repository.chunks == len(chunks) == job.progress.chunks_done
    assert (job.progress.files_done, job.progress.files_total) == (3, 3)
    source = SourceService(indexer.store, indexer.manifest)
    for path in ("src/pool.py", "README.md"):
        read = await source.read(repository.id, path, frozenset({repository.id}))
        assert f"{read.content}\n" == (indexer.root / path).read_text()
    take = next(chunk for chunk in chunks if chunk.symbol == "take")
    assert (take.kind, take.qualified_name, take.span.start_line, take.language) == ("method", "Pool.take", 9, "python")


async def test_secrets_are_left_out_and_an_include_that_names_one_takes_it(indexer: Indexer) -> None:
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
    for name in ("deploy", "server.key"):
        old(indexer.root / name, f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    old(indexer.root / ".env", "TOKEN=abc\n")
    old(indexer.root / "a.py", "x = 1\n")
    repository, _ = await indexer.index()
    assert repository.skipped == {"secret": 3}
    assert {chunk.span.path for chunk in await indexer.chunks(repository.id)} == {"a.py"}
    repository, _ = await indexer.index(include=["a.py", "deploy", ".env"])
    assert {chunk.span.path for chunk in await indexer.chunks(repository.id)} == {"a.py", "deploy", ".env"}


async def test_frequencies_count_the_chunks_that_have_a_term(indexer: Indexer) -> None:
    old(indexer.root / "pool.py", POOL)
    repository, _ = await indexer.index()
    scope = frozenset({repository.id})
    term = term_id("lock")
    frequencies, total = indexer.manifest.document_frequencies(scope, {term})
    with_lock = [chunk for chunk in await indexer.chunks(repository.id) if "lock" in chunk.text]
    assert (frequencies, total) == ({term: len(with_lock)}, repository.chunks)


@pytest.fixture
def nothing_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the times of files that a test has just made: it waits between its writes."""
    monkeypatch.setattr("rag_app.features.indexing.walk.RACY_S", -1)


@pytest.mark.usefixtures("nothing_is_young")
async def test_what_did_not_change_is_neither_read_nor_embedded_again(indexer: Indexer) -> None:
    old(indexer.root / "a.py", "def a():\n    return 1\n")
    old(indexer.root / "b.py", "def b():\n    return 2\n")
    repository, _ = await indexer.index()
    asked = len(indexer.tei.paths), len(indexer.tei.bodies)
    before = await indexer.points(repository.id)

    again, job = await indexer.index()
    assert again.id == repository.id
    assert job.progress.chunks_done == 0
    assert (job.progress.files_done, job.progress.files_total) == (2, 2)
    assert (len(indexer.tei.paths), len(indexer.tei.bodies)) == asked
    assert await indexer.points(repository.id) == before


async def test_a_changed_file_alone_is_indexed_again_and_its_old_points_go(indexer: Indexer) -> None:
    old(indexer.root / "a.py", "def a():\n    return 1\n")
    changed = old(indexer.root / "b.py", "def b():\n    return 2\n")
    repository, _ = await indexer.index()
    changed.write_text("def b():\n    return 3\n")
    repository, job = await indexer.index()
    assert job.progress.chunks_embedded == 1
    assert [chunk.text for chunk in await indexer.points(repository.id)] == [
        "def a():\n    return 1",
        "def b():\n    return 3",
    ]
    frequencies, total = indexer.manifest.document_frequencies(frozenset({repository.id}), {term_id("2"), term_id("3")})
    assert (frequencies, total) == ({term_id("3"): 1}, 2)


@pytest.mark.usefixtures("nothing_is_young")
async def test_a_touched_file_is_read_and_not_chunked_again(indexer: Indexer) -> None:
    path = old(indexer.root / "a.py", "def a():\n    return 1\n")
    repository, _ = await indexer.index()
    os.utime(path, (1_700_000_000, 1_700_000_000))
    _, job = await indexer.index()
    assert job.progress.chunks_done == 0
    row = indexer.manifest.files.one(repository.id, "base", "a.py")
    assert row is not None
    assert "1700000000000000000" in row.signature


async def test_a_file_that_changes_under_the_same_size_and_time_right_away_is_noticed(indexer: Indexer) -> None:
    path = indexer.root / "a.py"
    path.write_text("a = 1\n")
    times = path.stat()
    repository, _ = await indexer.index()
    path.write_text("a = 2\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    await indexer.index()
    assert [chunk.text for chunk in await indexer.chunks(repository.id)] == ["a = 2"]


async def test_content_that_was_embedded_anywhere_is_not_embedded_again(indexer: Indexer) -> None:
    old(indexer.root / "one/a.py", "def a():\n    return 1\n")
    await indexer.index(indexer.root / "one")
    asked = len(embedded_texts(indexer))
    old(indexer.root / "two/a.py", "def a():\n    return 1\n")
    _, job = await indexer.index(indexer.root / "two")
    assert (job.progress.chunks_embedded, job.progress.chunks_reused) == (0, 1)
    assert len(embedded_texts(indexer)) == asked


async def test_a_removed_file_is_found_no_more(indexer: Indexer) -> None:
    old(indexer.root / "a.py", "a = 1\n")
    old(indexer.root / "b.py", "b = 1\n")
    repository, _ = await indexer.index()
    (indexer.root / "b.py").unlink()
    repository, _ = await indexer.index()
    assert (repository.files, repository.chunks) == (1, 1)
    assert [chunk.span.path for chunk in await indexer.points(repository.id)] == ["a.py"]


async def test_a_file_that_is_ignored_from_now_on_is_found_no_more(indexer: Indexer) -> None:
    old(indexer.root / "secret.py", "a = 1\n")
    repository, _ = await indexer.index()
    old(indexer.root / ".gitignore", "secret.py\n")
    repository, _ = await indexer.index()
    assert repository.skipped == {"ignored": 1}
    assert "secret.py" not in {chunk.span.path for chunk in await indexer.points(repository.id)}


async def test_include_and_exclude_choose_files(indexer: Indexer) -> None:
    for name in ("src/a.py", "src/gen/b.py", "docs/c.md"):
        old(indexer.root / name, "some words\n")
    repository, _ = await indexer.index(include=["src/"], exclude=["gen/"])
    assert {chunk.span.path for chunk in await indexer.chunks(repository.id)} == {"src/a.py"}
    assert repository.skipped == {"excluded": 2}


async def test_a_service_that_is_down_fails_the_job_and_loses_nothing(indexer: Indexer) -> None:
    path = old(indexer.root / "a.py", "a = 1\n")
    repository, _ = await indexer.index()
    path.write_text("a = 2\n")
    indexer.tei.failures += [(500, {})] * 10
    failed, job = await indexer.index()
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.code == "upstream"
    assert failed.state == "failed"
    assert [chunk.text for chunk in await indexer.chunks(repository.id)] == ["a = 1"]

    indexer.tei.failures.clear()
    mended, job = await indexer.index()
    assert (job.state, mended.state) == ("succeeded", "ready")
    assert [chunk.text for chunk in await indexer.points(repository.id)] == ["a = 2"]


@pytest.mark.parametrize("stage", ["upsert", "commit", "delete_blobs"])
async def test_a_run_that_dies_at_any_step_leaves_each_file_found_and_the_next_repairs(
    indexer: Indexer, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    changed = old(indexer.root / "a.py", "a = 1\n")
    removed = old(indexer.root / "b.py", "b = 1\n")
    repository, _ = await indexer.index()
    changed.write_text("a = 2\n")
    removed.unlink()

    def dies(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(indexer.manifest.files if stage == "commit" else indexer.store, stage, dies)
        _, job = await indexer.index()
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.code == "internal"
    assert "killed" not in job.error.message
    expected = "a = 2" if stage == "delete_blobs" else "a = 1"
    assert expected in [chunk.text for chunk in await indexer.chunks(repository.id)]

    changed.write_text("a = 3\n")
    await indexer.index()
    assert [chunk.text for chunk in await indexer.points(repository.id)] == ["a = 3"]


async def test_points_that_the_store_lost_are_written_again(indexer: Indexer) -> None:
    old(indexer.root / "a.py", "a = 1\n")
    repository, _ = await indexer.index()
    await indexer.store.delete_repository(repository.id)
    assert await indexer.chunks(repository.id) == []
    repository, job = await indexer.index()
    assert [chunk.text for chunk in await indexer.chunks(repository.id)] == ["a = 1"]
    assert (job.progress.chunks_embedded, job.progress.chunks_reused) == (0, 1)
    assert repository.chunks == 1


async def test_an_index_begun_anew_is_filled_with_every_repository_by_the_sync_of_one(indexer: Indexer) -> None:
    folders = [indexer.root / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "a.py").write_text(f"def of_{folder.name}():\n    return 1\n")
    repositories = [(await indexer.index(folder))[0] for folder in folders]
    client = indexer.store._client
    for collection in (await client.get_collections()).collections:
        await client.delete_collection(collection.name)
    _, job = await indexer.service.sync(repositories[0].id, indexer.manifest.all_ids())
    await indexer.finished(job)
    # Jobs run in their order: one that is asked for now ends after those that the first one asked for.
    _, job = await indexer.service.sync(repositories[0].id, indexer.manifest.all_ids())
    await indexer.finished(job)
    for repository in repositories:
        assert [chunk.span.path for chunk in await indexer.chunks(repository.id)] == ["a.py"]


async def test_a_job_in_hand_at_shutdown_is_done_by_the_next_process(
    indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(indexer.root / "a.py", "a = 1\n")
    begun = asyncio.Event()
    upsert = indexer.store.upsert

    async def hangs(chunks: list[EmbeddedChunk]) -> None:
        begun.set()
        await asyncio.sleep(600)

    monkeypatch.setattr(indexer.store, "upsert", hangs)
    _, job = await indexer.service.register(Source("path", str(indexer.root)))
    await asyncio.wait_for(begun.wait(), 20)
    await indexer.service.stop()
    assert indexer.manifest.jobs.get(job.id).state == "queued"

    monkeypatch.setattr(indexer.store, "upsert", upsert)
    second = IndexingService(indexer.manifest, indexer.store, indexer.embedder, indexer.settings)
    await second.start()
    repository, done = await indexer.finished(job)
    await second.stop()
    assert (done.id, done.state) == (job.id, "succeeded")
    assert len(await indexer.chunks(repository.id)) == 1


async def test_while_another_process_holds_the_lease_jobs_wait(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "data" / "manifest.sqlite")
    manifest.open()
    assert manifest.jobs.take_lease("indexer", "elsewhere/1/x", 600)
    async with running_indexer(tmp_path) as indexer:
        old(indexer.root / "a.py", "a = 1\n")
        _, job = await indexer.service.register(Source("path", str(indexer.root)))
        await asyncio.sleep(1.5)
        assert indexer.manifest.jobs.get(job.id).state == "queued"
        manifest.jobs.give_lease("indexer", "elsewhere/1/x")
        _, done = await indexer.finished(job)
        assert done.state == "succeeded"
    manifest.close()


async def test_a_repository_is_deleted_with_its_points(indexer: Indexer) -> None:
    old(indexer.root / "a.py", "a = 1\n")
    repository, _ = await indexer.index()
    await indexer.service.delete(repository.id, frozenset({repository.id}))
    assert await indexer.points(repository.id) == []
    assert indexer.service.list(indexer.manifest.all_ids()) == []
    with pytest.raises(NotFound):
        indexer.service.get(repository.id, frozenset({repository.id}))


async def test_points_of_a_repository_deleted_while_the_store_was_down_go_later(
    indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(indexer.root / "a.py", "a = 1\n")
    repository, _ = await indexer.index()

    async def down(identifier: str) -> None:
        raise Unavailable("Qdrant cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(indexer.store, "delete_repository", down)
        await indexer.service.delete(repository.id, frozenset({repository.id}))
        assert indexer.manifest.deleted() == [repository.id]
    async with asyncio.timeout(30):
        while indexer.manifest.deleted():  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(0.1)
    assert await indexer.points(repository.id) == []


async def test_a_repository_that_is_being_indexed_cannot_be_deleted(
    indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(indexer.root / "a.py", "a = 1\n")
    begun, go_on = asyncio.Event(), asyncio.Event()
    upsert = indexer.store.upsert

    async def waits(chunks: list[EmbeddedChunk]) -> None:
        begun.set()
        await go_on.wait()
        await upsert(chunks)

    monkeypatch.setattr(indexer.store, "upsert", waits)
    repository, job = await indexer.service.register(Source("path", str(indexer.root)))
    await asyncio.wait_for(begun.wait(), 20)
    with pytest.raises(Conflict, match="being indexed"):
        await indexer.service.delete(repository.id, frozenset({repository.id}))
    go_on.set()
    _, done = await indexer.finished(job)
    assert done.state == "succeeded"


async def test_a_job_that_failed_on_a_full_disk_says_so_at_once_and_is_written_when_there_is_room(
    indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(indexer.root / "a.py", "a = 1\n")
    monkeypatch.setattr(worker, "RETRY_S", 0.01)
    has_room = False
    finish = indexer.manifest.jobs.finish

    def full(*words: object) -> None:
        if not has_room:
            raise Unavailable("database or disk is full")
        finish(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(indexer.manifest.jobs, "finish", full)
    indexer.tei.failures = [(500, {})] * 50
    _, job = await indexer.index()
    assert (job.state, job.error and job.error.code) == ("failed", "upstream")
    assert indexer.manifest.jobs.get(job.id).state == "running"
    indexer.tei.failures = []
    has_room = True
    assert (await indexer.index())[1].state == "succeeded"
    assert indexer.manifest.jobs.get(job.id).state == "failed"
