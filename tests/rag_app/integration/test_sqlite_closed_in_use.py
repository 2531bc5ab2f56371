"""A file is closed while threads use it, as where a server ends in the middle of a renewed lease."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rag_app.db.sqlite import Database
from service_kit.errors import Unavailable

MIGRATIONS = ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT) STRICT",)


def write_until_closed(database: Database, ends: list[BaseException]) -> None:
    try:
        while True:
            with database.transaction() as connection:
                connection.execute("INSERT INTO notes (text) VALUES ('a')")
            database.rows("SELECT * FROM notes ORDER BY text LIMIT 50")
    except BaseException as exc:
        ends.append(exc)


def close_in_use(path: Path, rounds: int) -> None:
    for _ in range(rounds):
        database = Database(path, MIGRATIONS, synchronous="OFF")
        database.open()
        ends: list[BaseException] = []
        threads = [threading.Thread(target=write_until_closed, args=(database, ends)) for _ in range(4)]
        for thread in threads:
            thread.start()
        threading.Event().wait(0.02)
        database.close()
        for thread in threads:
            thread.join(30)
        assert [type(end) for end in ends] == [Unavailable] * 4, ends
        assert all("is not open" in str(end) for end in ends), ends


def test_who_uses_it_meanwhile_is_told_and_the_process_lives(tmp_path: Path) -> None:
    """Found by a test run that ended in a segmentation fault of SQLite."""
    program = (
        "import sys; from pathlib import Path; from tests.rag_app.integration import test_sqlite_closed_in_use as t"
    )
    program += "; t.close_in_use(Path(sys.argv[1]), 40)"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "notes.sqlite")], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr


def test_close_waits_for_a_transaction_in_work(tmp_path: Path) -> None:
    database = Database(tmp_path / "notes.sqlite", MIGRATIONS)
    database.open()
    begun, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with database.transaction() as connection:
            begun.set()
            go_on.wait(30)
            connection.execute("INSERT INTO notes (text) VALUES ('whole')")

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(30)
    closer = threading.Thread(target=database.close)
    closer.start()
    closer.join(0.2)
    assert closer.is_alive()
    go_on.set()
    writer.join(30)
    closer.join(30)
    with pytest.raises(Unavailable, match="is not open"):
        database.rows("SELECT 1")
    database.open()
    assert [row["text"] for row in database.rows("SELECT text FROM notes")] == ["whole"]
    database.close()
