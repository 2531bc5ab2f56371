"""SQLite as it meets the world: several processes, a full disk, an old library."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_app.db import sqlite as database_module
from rag_app.db.manifest import Manifest
from rag_app.db.records import FileRow, FileUpdate, Progress, Source
from service_kit.errors import Unavailable

# Two of these run on one file; each opens it, writes as an indexer does, and reads as a search does.
WRITER = """
import sys
from pathlib import Path
from rag_app.db.manifest import Manifest
from rag_app.db.records import FileRow, FileUpdate, Progress, Source

name = sys.argv[2]
sys.stdin.readline()
for _ in range(5):
    manifest = Manifest(Path(sys.argv[1]))
    manifest.open()
    mine = manifest.register(name, Source("path", f"/{name}"))
    for number in range(40):
        path = f"{number}.py"
        manifest.files.will_write(mine, [(path, "b")])
        manifest.files.commit(mine, [FileUpdate(FileRow(path, "b", "indexed", "python", 1), {number: 1})])
        job = manifest.jobs.enqueue(mine)
        manifest.jobs.report(job.id, Progress(files_done=number))
        manifest.document_frequencies(manifest.all_ids(), [number])
    manifest.close()

"""


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "m.sqlite")]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen([*command, name], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for name in ("one", "two", "three")
    ]
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_processes_that_open_and_write_one_manifest_wait_for_each_other(
    writers: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    for process in writers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in writers:
        _, err = process.communicate(timeout=100)
        assert (process.returncode, err) == (0, "")
    manifest = Manifest(tmp_path / "m.sqlite")
    manifest.open()
    assert {r.name: r.chunks for r in manifest.repositories(manifest.all_ids())} == {"one": 40, "two": 40, "three": 40}
    manifest.close()


def test_a_full_disk_is_said_in_words_and_leaves_what_was_there(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "m.sqlite")
    manifest.open()
    mine = manifest.register("one", Source("path", "/one"))
    manifest.files.commit(mine, [FileUpdate(FileRow("a.py", "b", "indexed", "python", 1), {1: 1})])
    # SQLite's own bound on a file: what it meets is the same error as at the end of a disk.
    pages = manifest._database.rows("PRAGMA page_count")[0][0]
    manifest._database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match=r"m\.sqlite: database or disk is full; see that DATA_DIR has room"):
        manifest.files.commit(mine, [FileUpdate(FileRow(f"{n:0500}", "b", "indexed")) for n in range(1_000)])
    assert list(manifest.files.of(mine)) == ["a.py"]
    manifest._database.rows("PRAGMA max_page_count = 1000000")
    manifest.jobs.finish(manifest.jobs.enqueue(mine).id, "succeeded", Progress())
    manifest.close()


def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"cannot make .*DATA_DIR"):
        Manifest(tmp_path / "file" / "m.sqlite").open()


def test_an_old_sqlite_is_told_before_a_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(Unavailable, match=r"3\.37\.0 or newer is needed"):
        Manifest(tmp_path / "m.sqlite").open()
    assert list(tmp_path.iterdir()) == []


def test_no_statement_needs_what_came_after_the_oldest_sqlite() -> None:
    """`->` and `->>` came with 3.38, unixepoch() too: this machine's SQLite knows them, Ubuntu 22.04's does not."""
    for module in Path(database_module.__file__).parent.glob("*.py"):
        strings = [line for line in module.read_text().splitlines() if '"' in line]
        assert not any("->>" in line or "unixepoch(" in line for line in strings), module
