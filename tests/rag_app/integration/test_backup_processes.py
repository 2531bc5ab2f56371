"""The commands as processes against vector_db as a process: killed at several points, broken off, told in words."""

import asyncio
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rag_app.core.settings import RagSettings
from rag_app.db.manifest import Manifest
from rag_app.db.records import Source
from tests.support.live import free_port
from tests.support.stack import Stack, environment
from tests.support.whole_index import COLLECTION, Place

# Three parts of points: enough to be killed between two of them.
CHUNKS = 5000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Stack]:
    """vector_db, running."""
    stack = Stack(tmp_path, environment(tmp_path, {"COLLECTION": COLLECTION, "EMBEDDING_URL": "http://127.0.0.1:9"}))
    stack.start("vector_db")
    try:
        stack.wait_for("QDRANT_PORT")
        yield stack
    finally:
        for service in list(stack.processes):
            stack.stop(service)


def place_of(stack: Stack) -> Place:
    settings = RagSettings(_env_file=None, qdrant_port=int(stack.env["QDRANT_PORT"]))  # type: ignore[call-arg]
    return Place(Path(stack.env["DATA_DIR"]), settings, None)


def begin(stack: Stack, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rag_app.cli.main", *words]
    return subprocess.Popen(command, env=stack.env, cwd=stack.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def killed_when(process: subprocess.Popen[bytes], reached: Callable[[], bool], how: signal.Signals) -> bool:
    """End the process at the moment when something is so; False where it ended by itself before."""
    deadline = time.monotonic() + 120
    while process.poll() is None:
        assert time.monotonic() < deadline
        if reached():
            process.send_signal(how)
            process.wait(60)
            return True
        time.sleep(0.0005)
    return False


async def test_a_backup_that_is_killed_at_any_point_is_refused_and_can_be_begun_anew(store: Stack) -> None:
    place = place_of(store)
    await place.fill(CHUNKS)
    folder = store.folder / "backup"
    moments: list[Callable[[], bool]] = [
        lambda: (folder / "unfinished").exists(),
        lambda: (folder / "points" / "000000.npz").exists(),
        lambda: (folder / "points" / "000002.npz").exists(),
        lambda: (folder / "manifest.sqlite.gz").exists(),
        lambda: (folder / "index.json.partial").exists(),
    ]
    killed = 0
    for reached in moments:
        shutil.rmtree(folder, ignore_errors=True)
        if not killed_when(begin(store, "backup", str(folder)), reached, signal.SIGKILL):
            continue
        if (folder / "index.json").exists():
            continue  # it was done before the signal came
        killed += 1
        refused = await asyncio.to_thread(store.cli, "restore", str(folder))
        assert refused.returncode == 2
        assert "was not finished; nothing was touched" in refused.stderr
        assert not (folder.parent / "data" / "last_backup.json").exists()
    assert killed >= 3
    if (folder / "index.json").exists():  # the last one was done before its signal came
        shutil.rmtree(folder)
    again = await asyncio.to_thread(store.cli, "backup", str(folder), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["chunks"] == CHUNKS
    assert sorted(path.name for path in folder.iterdir()) == [
        "index.json",
        "manifest.sqlite.gz",
        "points",
        "settings.json",
    ]
    await place.qdrant.close()


async def test_a_restore_that_is_killed_leaves_the_old_index_serving_and_a_second_run_ends_it(store: Stack) -> None:
    place, folder = place_of(store), store.folder / "backup"
    await place.fill(CHUNKS)
    backed_up = await place.all()
    assert (await asyncio.to_thread(store.cli, "backup", str(folder))).returncode == 0
    # What is served now differs from the backup: a restore must either change all of it or nothing.
    await place.wipe()
    await place.fill(60)
    old = await place.all()
    notes = Path(store.env["DATA_DIR"]) / "restore.json"
    manifest = Path(store.env["DATA_DIR"]) / "restore.sqlite"

    def done() -> int:
        try:
            return len(json.loads(notes.read_text())["done"])
        except (OSError, ValueError):
            return -1

    killed = 0
    for reached in (manifest.exists, lambda: done() == 0, lambda: done() == 1, lambda: done() == 2):
        process = begin(store, "restore", str(folder), "--replace")
        assert killed_when(process, reached, signal.SIGKILL), process.communicate()
        killed += 1
        served = await place.all()
        assert (served.ids, served.payloads) == (old.ids, old.payloads), "a killed restore changed what is served"
    assert (killed, done()) == (4, 2), "what was written was not gone on with"
    ended = await asyncio.to_thread(store.cli, "restore", str(folder), "--replace", "--json")
    assert ended.returncode == 0, ended.stderr
    served = await place.all()
    assert (served.ids, served.payloads) == (backed_up.ids, backed_up.payloads)
    assert served.dense.tobytes() == backed_up.dense.tobytes()
    assert len([name for name in await place.collections.names() if name.startswith(COLLECTION)]) == 1
    assert not notes.exists()
    assert not manifest.exists()
    await place.qdrant.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_ends_a_backup_with_130_and_leaves_nothing(store: Stack, how: signal.Signals) -> None:
    place, folder = place_of(store), store.folder / "backup"
    await place.fill(CHUNKS)
    process = begin(store, "backup", str(folder))
    assert killed_when(process, (folder / "points" / "000000.npz").exists, how)
    _, err = process.communicate()
    assert (process.returncode, err.decode()) == (128 + how, "broken off; nothing half is left\n")
    assert not folder.exists()
    await place.qdrant.close()


def test_without_qdrant_a_backup_says_where_it_was_looked_for_and_leaves_nothing(tmp_path: Path) -> None:
    env = environment(tmp_path, {"QDRANT_PORT": str(free_port())})
    data = Path(env["DATA_DIR"])
    data.mkdir()
    manifest = Manifest(data / "manifest.sqlite")
    manifest.open()
    manifest.register("shop", Source("path", "/somewhere/shop"))
    manifest.close()
    failed = Stack(tmp_path, env).cli("backup", str(tmp_path / "backup"))
    assert failed.returncode == 1
    assert "Qdrant cannot be reached at" in failed.stderr
    assert not (tmp_path / "backup").exists()


LIMITED = """
import resource, sys
from rag_app.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
main(sys.argv[2:])
"""


@pytest.mark.parametrize("limit", [100_000, 400_000])
async def test_where_a_file_cannot_grow_the_backup_says_so_and_leaves_nothing(store: Stack, limit: int) -> None:
    """The kernel refuses to write past a size, as it does on a full disk: in SQLite's files, then in a part's."""
    place = place_of(store)
    await place.fill(2500)
    command = [sys.executable, "-c", LIMITED, str(limit), "backup", str(store.folder / "backup")]
    failed = await asyncio.to_thread(_ended, store, command)
    assert failed.returncode == 1, failed.stderr
    assert "cannot " in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (store.folder / "backup").exists()
    await place.qdrant.close()


async def test_a_terminal_sees_progress_and_a_pipe_sees_one_line(store: Stack) -> None:
    place = place_of(store)
    await place.fill(300)
    piped = await asyncio.to_thread(store.cli, "backup", str(store.folder / "one"))
    assert piped.returncode == 0, piped.stderr
    assert piped.stderr.startswith("backed up 300 chunks of 100 files (project), 0 MB in ") or "MB in" in piped.stderr
    assert piped.stdout == ""
    assert await asyncio.to_thread(_on_a_terminal, store, "backup", str(store.folder / "two")) > 0
    await place.qdrant.close()


def _ended(stack: Stack, command: list[str]) -> subprocess.CompletedProcess[str]:
    piped = subprocess.PIPE
    # Without the measuring of coverage, whose file must not grow either.
    env = {name: value for name, value in stack.env.items() if not name.startswith("COV")}
    return subprocess.run(command, env=env, cwd=stack.folder, stdout=piped, stderr=piped, text=True, check=False)


def _on_a_terminal(stack: Stack, *words: str) -> int:
    """How often a line of progress was drawn."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "rag_app.cli.main", *words]
    process = subprocess.Popen(
        command, env={**stack.env, "TERM": "xterm"}, cwd=stack.folder, stdout=slave, stderr=slave
    )
    os.close(slave)
    seen = b""
    try:
        while piece := os.read(master, 4096):
            seen += piece
    except OSError:
        pass  # the end of a terminal
    os.close(master)
    assert process.wait(60) == 0, seen
    return seen.count(b"copying points")


async def test_an_index_moves_to_another_store_by_the_command_and_the_settings_are_told(
    store: Stack, tmp_path: Path
) -> None:
    place = place_of(store)
    await place.fill(600)
    (tmp_path / "second").mkdir()
    second = Stack(tmp_path / "second", environment(tmp_path / "second", {"COLLECTION": COLLECTION}))
    second.start("vector_db")
    try:
        second.wait_for("QDRANT_PORT")
        port = second.env["QDRANT_PORT"]
        moved = await asyncio.to_thread(store.cli, "migrate", "--to", f"127.0.0.1:{port}")
        assert moved.returncode == 0, moved.stderr
        assert "600 points are in" in moved.stderr
        assert f"set QDRANT_HOST=127.0.0.1 and QDRANT_PORT={port} in .env" in moved.stderr.replace("\n", " ")
        other = Place(Path(store.env["DATA_DIR"]), RagSettings(_env_file=None, qdrant_port=int(port)), None)  # type: ignore[call-arg]
        here, there = await place.all(), await other.all()
        assert here.ids == there.ids
        assert here.dense.tobytes() == there.dense.tobytes()
        again = await asyncio.to_thread(store.cli, "migrate", "--to", f"127.0.0.1:{port}", "--json")
        told = json.loads(again.stdout)
        assert (told["points"], told["written"], told["removed"]) == (600, 0, 0)
        await other.qdrant.close()
    finally:
        second.stop("vector_db")
        await place.qdrant.close()


@pytest.mark.parametrize("to", ["nowhere", "host:0", "host:port", ":6333"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, to: str) -> None:
    refused = Stack(tmp_path, environment(tmp_path, {})).cli("migrate", "--to", to)
    assert (refused.returncode, "is no address; give HOST:PORT" in refused.stderr) == (2, True)
