"""Copies of SQLite files."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rag_app.db.sqlite_copies import snapshot, version_of


@pytest.mark.parametrize("name", ["my data", "100% mine", "a#b", "why?", "%41"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    source = tmp_path / name / "manifest.sqlite"
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (7)")
        connection.execute("PRAGMA user_version = 3")
    snapshot(source, tmp_path / name / "copy.sqlite")
    assert version_of(tmp_path / name / "copy.sqlite") == version_of(source) == 3
    with closing(sqlite3.connect(tmp_path / name / "copy.sqlite")) as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [(7,)]
