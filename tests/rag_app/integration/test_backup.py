"""Backups within one process: what is in them, what is refused, and that they fit while the index changes."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag_app.core.settings import RagSettings
from rag_app.db.qdrant_calls import Qdrant
from rag_app.features.backup.index_file import read_index
from rag_app.features.backup.service import BackupService
from service_kit.errors import Conflict, ServiceError, Unavailable
from tests.support.indexing import Indexer, old, running_indexer


def write_project(root: Path, files: int = 12) -> None:
    for number in range(files):
        old(
            root / f"pkg{number % 3}" / f"m{number}.py",
            f"def f{number}(x):\n    return x + {number}\n\n\nclass C{number}:\n    pass\n",
        )


def service_of(indexer: Indexer, *, with_model: bool = True) -> BackupService:
    qdrant = Qdrant(indexer.settings, indexer.store._client)
    return BackupService(indexer.settings, qdrant, indexer.embedder if with_model else None)


async def everything(indexer: Indexer) -> dict[str, Any]:
    """What a search could find, whole: the vectors too."""
    found: dict[str, Any] = {}
    for repository in indexer.manifest.repositories(indexer.manifest.all_ids()):
        ids = [chunk.id for chunk in await indexer.chunks(repository.id)]
        records = await indexer.store._client.retrieve("code", ids, with_payload=True, with_vectors=True)
        for record in records:
            vector: Any = record.vector
            # As float32, which is what a server keeps; the client in memory keeps sparse values as they came.
            numbers = (np.float32(vector["dense"]), np.float32(vector["sparse"].values))
            found[str(record.id)] = (record.payload, vector["sparse"].indices, *(n.tobytes() for n in numbers))
    return found


@pytest.fixture
async def indexer(tmp_path: Path) -> AsyncIterator[Indexer]:
    async with running_indexer(tmp_path) as running:
        write_project(running.root)
        _, job = await running.index(name="project")
        assert job.state == "succeeded"
        yield running


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Indexer]:
    """An empty one, with the same model, on another machine."""
    (tmp_path / "other").mkdir()
    async with running_indexer(tmp_path / "other") as running:
        yield running


async def test_a_backup_restored_elsewhere_is_the_same_index(indexer: Indexer, other: Indexer, tmp_path: Path) -> None:
    before = await everything(indexer)
    assert len(before) >= 24
    backup = await service_of(indexer).back_up(tmp_path / "backup")
    assert (backup.chunks, backup.files, backup.repositories) == (len(before), 12, ["project"])
    restored, warning = await service_of(other).restore(tmp_path / "backup")
    assert (restored.id, warning) == (backup.id, None)
    assert await everything(other) == before
    assert indexer.manifest.model() == other.manifest.model() == await indexer.embedder.identity()
    there, here = (i.manifest.repositories(i.manifest.all_ids())[0] for i in (indexer, other))
    assert here == there
    terms = list(range(2**16))
    assert other.manifest.document_frequencies(other.manifest.all_ids(), terms) == (
        indexer.manifest.document_frequencies(indexer.manifest.all_ids(), terms)
    )


async def test_the_embedding_cache_comes_along_where_it_is_asked_for(
    indexer: Indexer, other: Indexer, tmp_path: Path
) -> None:
    await service_of(indexer).back_up(tmp_path / "without")
    assert not (tmp_path / "without" / "embeddings.sqlite.gz").exists()
    await service_of(indexer).back_up(tmp_path / "with", with_cache=True)
    await service_of(other).restore(tmp_path / "with")
    write_project(other.root)
    _, job = await other.index(name="the same code elsewhere")
    assert (job.state, job.progress.chunks_embedded) == ("succeeded", 0)
    assert job.progress.chunks_reused > 0


async def test_the_last_backup_is_told_in_the_data_folder(indexer: Indexer, tmp_path: Path) -> None:
    backup = await service_of(indexer).back_up(tmp_path / "backup")
    told = json.loads((indexer.settings.data_dir / "last_backup.json").read_text())
    assert told == {
        "finished_at": backup.finished_at, "folder": str(tmp_path / "backup"), "chunks": backup.chunks
    }  # fmt: skip


async def test_a_restored_index_can_be_indexed_on_without_embedding_anything_again(
    indexer: Indexer, tmp_path: Path
) -> None:
    await service_of(indexer).back_up(tmp_path / "backup")
    repository = indexer.manifest.repositories(indexer.manifest.all_ids())[0]
    await service_of(indexer).restore(tmp_path / "backup", replace=True)
    old(indexer.root / "pkg0" / "new.py", "def brand_new():\n    return 'new'\n")
    _, job = await indexer.finished((await indexer.index(name="project"))[1])
    assert (job.state, job.progress.chunks_done) == ("succeeded", 1)
    assert "pkg0/new.py" in {chunk.span.path for chunk in await indexer.chunks(repository.id)}


async def test_a_backup_taken_while_files_change_holds_every_point_that_its_manifest_names(
    indexer: Indexer, other: Indexer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two pages a file is changed, indexed anew, and its old points are deleted."""
    from rag_app.db import point_store

    monkeypatch.setattr("rag_app.features.backup.take.POINTS_A_PART", 4)
    monkeypatch.setattr(point_store, "PAGE_POINTS", 4)
    page, changes = point_store.PointStore.page, iter(range(4))

    async def page_and_change(self: Any, name: str, offset: str | None = None) -> Any:
        answer = await page(self, name, offset)
        if (number := next(changes, None)) is not None:
            old(indexer.root / "pkg0" / "m0.py", f"def changed_{number}(x):\n    return {number}\n")
            old(indexer.root / f"pkg1/added{number}.py", f"def added_{number}(x):\n    return {number}\n")
            (indexer.root / f"pkg{(number + 1) % 3}" / f"m{number + 1}.py").unlink()
            assert (await indexer.index(name="project"))[1].state == "succeeded"
        return answer

    monkeypatch.setattr(point_store.PointStore, "page", page_and_change)
    backup = await service_of(indexer).back_up(tmp_path / "backup")
    assert next(changes, None) is None, "the collection was read in fewer pages than there were changes"
    assert max(part.round for part in backup.parts) >= 1
    await service_of(other).restore(tmp_path / "backup")
    assert await everything(other) == await everything(indexer)
    repository = other.manifest.repositories(other.manifest.all_ids())[0]
    assert {c.span.path for c in await other.points(repository.id)} == {
        c.span.path for c in await indexer.chunks(repository.id)
    }, "points that nothing names came back"


async def test_points_that_the_index_lacks_are_told_and_no_backup_is_left(
    indexer: Indexer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_app.features.backup.take.SETTLE_S", 0.01)
    repository = indexer.manifest.repositories(indexer.manifest.all_ids())[0]
    lost = (await indexer.chunks(repository.id))[0]
    await indexer.store.delete_blobs(repository.id, "base", [(lost.span.path, lost.blob)])
    with pytest.raises(Conflict, match=rf"lacks points .* 1 files, such as '{lost.span.path}'; run `code-assistant"):
        await service_of(indexer).back_up(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


async def test_a_folder_that_holds_something_is_not_written_to(indexer: Indexer, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(Conflict, match="holds something already"):
        await service_of(indexer).back_up(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    await service_of(indexer).back_up(tmp_path / "backup")
    with pytest.raises(Conflict, match="holds a backup already"):
        await service_of(indexer).back_up(tmp_path / "backup")


async def test_an_index_that_is_there_is_replaced_only_where_that_is_said(indexer: Indexer, tmp_path: Path) -> None:
    await service_of(indexer).back_up(tmp_path / "backup")
    before = await everything(indexer)
    with pytest.raises(Conflict, match=r"an index already \(1 repositories, \d+ points\); give --replace"):
        await service_of(indexer).restore(tmp_path / "backup")
    old(indexer.root / "later.py", "def later():\n    return 1\n")
    await indexer.index(name="project")
    assert await everything(indexer) != before
    await service_of(indexer).restore(tmp_path / "backup", replace=True)
    assert await everything(indexer) == before
    collections = (await indexer.store._client.get_collections()).collections
    assert len(collections) == 1, "the replaced collection was left"


PARTS = [
    "manifest.sqlite.gz",
    "settings.json",
    "points/000000.npz",
    "points/000001.npz",
    "embeddings.sqlite.gz",
    "index.json",
]


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("harm", ["altered", "truncated", "missing"])
async def test_a_damaged_part_is_refused_before_anything_is_touched(
    indexer: Indexer, other: Indexer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, harm: str
) -> None:
    monkeypatch.setattr("rag_app.features.backup.take.POINTS_A_PART", 8)
    monkeypatch.setattr("rag_app.db.point_store.PAGE_POINTS", 8)
    await service_of(indexer).back_up(tmp_path / "backup", with_cache=True)
    path = tmp_path / "backup" / name
    content = bytearray(path.read_bytes())
    if harm == "altered":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif harm == "truncated":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    before = _files(other.settings.data_dir)
    with pytest.raises(Conflict, match=rf"{path.name}.*nothing was touched"):
        await service_of(other).restore(tmp_path / "backup")
    assert _files(other.settings.data_dir) == before
    assert (await other.store._client.get_collections()).collections == []


def _files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if not path.name.endswith(("-wal", "-shm"))}


def _restated(folder: Path, **changes: Any) -> None:
    """Write a backup's index anew, with its checksum, as another version of the program would."""
    from dataclasses import replace

    from rag_app.features.backup.index_file import write_index

    write_index(folder, replace(read_index(folder), **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2, "program": "9.9"}, r"written by Code Assistant 9\.9 in format 2"),
        ({"schemas": {"collection": 1, "manifest": 99}}, r"manifest has schema version 99"),
        ({"schemas": {"collection": 2, "manifest": 1}}, r"collection has schema version 2"),
        ({"schemas": {"collection": 0, "manifest": 1}, "program": "0.0.1"}, r"Code Assistant 0\.0\.1, or index anew"),
        ({"model": {"hash": "f" * 12, "name": "other/model", "dim": 8}}, r"other/model .*EMBEDDING_MODEL"),
    ],
)
async def test_a_backup_of_a_newer_program_or_another_model_is_refused_in_words(
    indexer: Indexer, other: Indexer, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    await service_of(indexer).back_up(tmp_path / "backup")
    _restated(tmp_path / "backup", **changes)
    with pytest.raises(Conflict, match=words):
        await service_of(other).restore(tmp_path / "backup")
    assert (await other.store._client.get_collections()).collections == []


async def test_where_the_model_cannot_be_asked_the_restore_says_so_and_goes_on(
    indexer: Indexer, other: Indexer, tmp_path: Path
) -> None:
    await service_of(indexer).back_up(tmp_path / "backup")
    settings = other.settings.model_copy(update={"embedding_url": "http://127.0.0.1:9", "embedding_timeout_s": 1.0})
    from rag_app.clients.embedding import ServiceEmbedder

    unreachable = BackupService(settings, Qdrant(settings, other.store._client), ServiceEmbedder(settings))
    _, warning = await unreachable.restore(tmp_path / "backup")
    assert warning is not None
    assert "toy/letters" in warning
    assert await everything(other) == await everything(indexer)


async def test_no_key_is_in_a_backup(indexer: Indexer, tmp_path: Path) -> None:
    settings = RagSettings(
        _env_file=None,  # type: ignore[call-arg]
        data_dir=indexer.settings.data_dir,
        qdrant_api_key="qdrant-secret",  # type: ignore[arg-type]
        llm_api_key="llm-secret",  # type: ignore[arg-type]
        embedding_api_key="embedding-secret",  # type: ignore[arg-type]
        llm_url="http://someone:llm-password@127.0.0.1:1/v1",
    )
    await BackupService(settings, Qdrant(settings, indexer.store._client)).back_up(tmp_path / "backup")
    told = json.loads((tmp_path / "backup" / "settings.json").read_text())
    assert told["EMBEDDING_MODEL"] == settings.embedding_model
    for path in (tmp_path / "backup").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            assert b"secret" not in content, path
            assert b"llm-password" not in content, path


async def test_a_job_that_runs_is_not_restored_over(indexer: Indexer, tmp_path: Path) -> None:
    await service_of(indexer).back_up(tmp_path / "backup")
    repository = indexer.manifest.repositories(indexer.manifest.all_ids())[0]
    await indexer.service._worker.stop()
    indexer.manifest.jobs.take_lease("indexer", "elsewhere/1/x", 60)
    indexer.manifest.jobs.enqueue(repository.id)
    assert indexer.manifest.jobs.claim() is not None
    with pytest.raises(Conflict, match="'project' is being indexed; wait"):
        await service_of(indexer).restore(tmp_path / "backup", replace=True)


async def test_while_a_restore_works_nothing_is_registered_deleted_or_indexed(
    indexer: Indexer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service_of(indexer).back_up(tmp_path / "backup")
    scope = indexer.manifest.all_ids()
    [repository] = indexer.manifest.repositories(scope)
    from rag_app.features.backup import put_back

    refused: list[str] = []
    original = put_back.PuttingBack._fill

    async def meddle(self: Any, *args: Any) -> None:
        (indexer.root / "second").mkdir()
        for deed in (
            lambda: indexer.index(indexer.root / "second", name="second"),
            lambda: indexer.service.sync(repository.id, scope),
            lambda: indexer.service.delete(repository.id, scope),
        ):
            with pytest.raises(Conflict, match="being restored"):
                await deed()
            refused.append("")
        await original(self, *args)

    monkeypatch.setattr(put_back.PuttingBack, "_fill", meddle)
    await service_of(indexer).restore(tmp_path / "backup", replace=True)
    assert len(refused) == 3
    assert (await indexer.index(name="project"))[1].state == "succeeded"


async def test_a_restore_that_ends_between_its_last_two_steps_is_ended_by_a_second_run(
    indexer: Indexer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias is led to the new points, the manifest is still the old one, and the process is gone."""
    await service_of(indexer).back_up(tmp_path / "backup")
    before = await everything(indexer)
    old(indexer.root / "later.py", "def later():\n    return 1\n")
    await indexer.index(name="project")

    def killed(target: Path, source: Path) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("rag_app.features.backup.put_back.replace_content", killed)
        with pytest.raises(RuntimeError):
            await service_of(indexer).restore(tmp_path / "backup", replace=True)
    assert (indexer.settings.data_dir / "restore.json").exists()
    await service_of(indexer).restore(tmp_path / "backup")  # goes on, and so asks for no --replace
    assert await everything(indexer) == before
    assert len((await indexer.store._client.get_collections()).collections) == 1
    with pytest.raises(Conflict, match="give --replace"):
        await service_of(indexer).restore(tmp_path / "backup")


async def test_a_restore_killed_when_all_was_done_but_the_tidying_undoes_nothing_later(
    indexer: Indexer, tmp_path: Path
) -> None:
    await service_of(indexer).back_up(tmp_path / "backup")
    notes = indexer.settings.data_dir / "restore.json"
    from rag_app.features.backup import put_back

    kept: list[bytes] = []
    switch = put_back.PuttingBack._switch

    async def remember(self: Any, journal: Any, staged: Path) -> None:
        await switch(self, journal, staged)
        kept.append(notes.read_bytes())

    put_back.PuttingBack._switch = remember  # type: ignore[method-assign]
    try:
        await service_of(indexer).restore(tmp_path / "backup", replace=True)
    finally:
        put_back.PuttingBack._switch = switch  # type: ignore[method-assign]
    notes.write_bytes(kept[0])
    old(indexer.root / "later.py", "def later():\n    return 1\n")
    await indexer.index(name="project")
    with pytest.raises(Conflict, match="give --replace"):
        await service_of(indexer).restore(tmp_path / "backup")
    repository = indexer.manifest.repositories(indexer.manifest.all_ids())[0]
    assert "later.py" in {chunk.span.path for chunk in await indexer.chunks(repository.id)}


async def test_a_full_disk_is_said_in_words_and_leaves_nothing(
    indexer: Indexer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(path: Path, points: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("rag_app.features.backup.take.write_part", full)
    with pytest.raises(Unavailable, match=r"cannot write or read .*000000\.npz: No space left on device"):
        await service_of(indexer).back_up(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("reached", ["points", "manifest", "cache"])
async def test_a_cancelled_backup_leaves_nothing(indexer: Indexer, tmp_path: Path, reached: str) -> None:
    def report(stage: str, done: int, total: int) -> None:
        if stage == reached:
            asyncio.get_running_loop().call_soon(task.cancel)

    work = service_of(indexer).back_up(tmp_path / "backup", with_cache=True, report=report)
    task = asyncio.ensure_future(work)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (tmp_path / "backup").exists()
    assert not (indexer.settings.data_dir / "last_backup.json").exists()


async def test_a_backup_that_was_killed_is_refused_and_begun_anew(
    indexer: Indexer, other: Indexer, tmp_path: Path
) -> None:
    await service_of(indexer).back_up(tmp_path / "backup")
    (tmp_path / "backup" / "index.json").unlink()
    (tmp_path / "backup" / "unfinished").write_text("")
    with pytest.raises(Conflict, match="was not finished; nothing was touched"):
        await service_of(other).restore(tmp_path / "backup")
    await service_of(indexer).back_up(tmp_path / "backup")
    await service_of(other).restore(tmp_path / "backup")


async def test_a_folder_with_a_file_of_that_name_is_not_taken_for_a_backup_s(indexer: Indexer, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "unfinished").write_text("chapters 3 and 4\n")
    (tmp_path / "notes" / "novel.txt").write_text("It was a dark night.\n")
    with pytest.raises(Conflict, match="holds something already"):
        await service_of(indexer).back_up(tmp_path / "notes")
    assert {path.name for path in (tmp_path / "notes").iterdir()} == {"unfinished", "novel.txt"}


async def test_a_second_backup_into_the_same_folder_waits_for_nobody_and_spoils_nothing(
    indexer: Indexer, other: Indexer, tmp_path: Path
) -> None:
    seconds: list[str] = []

    def report(stage: str, done: int, total: int) -> None:
        if seconds:
            return
        seconds.append("begun")
        with pytest.raises(Conflict, match="is being taken into"):
            service_of(indexer).back_up(tmp_path / "backup").send(None)
        seconds.append("refused")

    await service_of(indexer).back_up(tmp_path / "backup", report=report)
    assert seconds == ["begun", "refused"]
    await service_of(other).restore(tmp_path / "backup")


async def test_a_folder_that_is_no_backup_is_said_to_be_none(other: Indexer, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=r"no index\.json: it is no backup"):
        await service_of(other).restore(tmp_path)


async def test_nothing_indexed_is_nothing_to_back_up(other: Indexer, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="nothing to back up"):
        await service_of(other).back_up(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


async def test_a_data_dir_that_is_not_the_servers_is_refused_though_the_store_is_full(
    indexer: Indexer, other: Indexer, tmp_path: Path
) -> None:
    astray = BackupService(other.settings, Qdrant(other.settings, indexer.store._client))
    assert indexer.settings.collection == other.settings.collection
    with pytest.raises(Conflict, match=f"nothing is indexed in DATA_DIR={other.settings.data_dir}, so"):
        await astray.back_up(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    assert not (other.settings.data_dir / "last_backup.json").exists()


async def test_a_backup_of_an_older_manifest_is_brought_up_to_date(
    indexer: Indexer, other: Indexer, tmp_path: Path
) -> None:
    await service_of(indexer).back_up(tmp_path / "backup")
    _as_of_version_1(tmp_path / "backup")
    await service_of(other).restore(tmp_path / "backup")
    assert await everything(other) == await everything(indexer)
    assert other.manifest._database.row("PRAGMA user_version")[0] == 3  # type: ignore[index]


async def test_the_weights_that_were_kept_for_a_repository_come_back_with_it(
    indexer: Indexer, other: Indexer, tmp_path: Path
) -> None:
    [repository] = indexer.manifest.repositories(indexer.manifest.all_ids())
    indexer.manifest.rankings.keep(repository.id, {"test_weight": 0.25}, {"gain": 0.03})
    await service_of(indexer).back_up(tmp_path / "backup")
    await service_of(other).restore(tmp_path / "backup")
    assert other.manifest.rankings.of(repository.id) == indexer.manifest.rankings.of(repository.id)
    assert other.manifest.rankings.of(repository.id) is not None


def _as_of_version_1(folder: Path) -> None:
    import sqlite3
    from dataclasses import replace

    from rag_app.db.sqlite_copies import compress, decompress
    from rag_app.features.backup.index_file import Part

    decompress(folder / "manifest.sqlite.gz", folder / "m.sqlite")
    with sqlite3.connect(folder / "m.sqlite") as connection:
        connection.execute("DROP TABLE facts")
        connection.execute("DROP TABLE rankings")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    compress(folder / "m.sqlite", folder / "manifest.sqlite.gz")
    backup = read_index(folder)
    parts = [replace(Part.of(folder, part.name), points=part.points, round=part.round) for part in backup.parts]
    _restated(folder, parts=parts, schemas={"collection": 1, "manifest": 1})
