"""An index of an older or newer program, or of another model: brought up to date, or refused in words."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from qdrant_client import AsyncQdrantClient

from rag_app.core.models import ModelIdentity
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.db.collections import CollectionName, Collections
from rag_app.db.manifest import Manifest
from rag_app.db.manifest_schema import MIGRATIONS
from rag_app.db.qdrant_calls import Qdrant
from service_kit.errors import Conflict
from tests.support.stack import environment

IDENTITY = ModelIdentity("toy", 3, 256, "0123456789ab" + "0" * 52)


def manifest_of_version_1(path: Path) -> None:
    """A manifest as the first version of the program left it: one repository, one file of two chunks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(MIGRATIONS[0])
    connection.executescript(
        """
        INSERT INTO repositories VALUES ('r1', 'old', 'path', '/old', NULL, '[]', '[]', 2, 1.0);
        INSERT INTO refs VALUES ('r1', 'main', 'base', 'c0ffee', 1, 2.0);
        INSERT INTO files VALUES ('r1', 'base', 'a.py', 'b1', 'indexed', 'python', 2, 'recipe|stat');
        INSERT INTO frequencies VALUES ('r1', 7, 2);
        INSERT INTO jobs (id, repository, kind, state, created_at, sequence)
            VALUES ('j', 'r1', 'index', 'succeeded', 1, 1);
        PRAGMA user_version = 1;
        """
    )
    connection.close()


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return found
    finally:
        connection.close()


def test_a_manifest_of_the_first_version_is_brought_up_to_date_and_a_copy_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "manifest.sqlite"
    manifest_of_version_1(path)
    manifest = Manifest(path)
    manifest.open()
    [repository] = manifest.repositories(manifest.all_ids())
    assert (repository.name, repository.state, repository.chunks, repository.files) == ("old", "ready", 2, 1)
    assert manifest.current({("r1", "base", "a.py", "b1")}) == {("r1", "base", "a.py", "b1")}
    assert manifest.document_frequencies(frozenset({"r1"}), [7]) == ({7: 2}, 2)
    assert manifest.model() is None, "what was never noted is not made up"
    manifest.set_model(IDENTITY, "0.1.0")
    assert manifest.model() == IDENTITY
    assert manifest.rankings.of("r1") is None
    manifest.close()
    assert (version_of(path), version_of(tmp_path / "manifest.v1.sqlite")) == (len(MIGRATIONS), 1)
    # The way back: the older program opens the copy as it was.
    connection = sqlite3.connect(tmp_path / "manifest.v1.sqlite")
    assert connection.execute("SELECT name, chunks FROM repositories").fetchall() == [("old", 2)]
    connection.close()


def test_a_manifest_of_the_second_version_can_keep_weights_and_a_copy_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "manifest.sqlite"
    manifest_of_version_1(path)
    connection = sqlite3.connect(path)
    connection.executescript(f"{MIGRATIONS[1]}; INSERT INTO facts VALUES ('program', '0.1.0'); PRAGMA user_version = 2")
    connection.close()
    manifest = Manifest(path)
    manifest.open()
    assert (manifest.fact("program"), manifest.rankings.of("r1")) == ("0.1.0", None)
    manifest.rankings.keep("r1", {"test_weight": 0.25}, {"gain": 0.03})
    kept = manifest.rankings.of("r1")
    assert kept is not None
    assert (kept.weights, kept.evidence) == ({"test_weight": 0.25}, {"gain": 0.03})
    manifest.close()
    assert (version_of(path), version_of(tmp_path / "manifest.v2.sqlite")) == (3, 2)


def test_a_new_manifest_leaves_no_copy_of_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        manifest = Manifest(tmp_path / "manifest.sqlite")
        manifest.open()
        manifest.close()
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.sqlite"}


@pytest.mark.parametrize(
    ("content", "words"),
    [("newer", "has schema version 99, this program knows up to 3: start the newer"), ("broken", "cannot open")],
)
def test_the_server_does_not_start_on_a_manifest_that_it_cannot_read_and_says_why(
    tmp_path: Path, content: str, words: str
) -> None:
    env = environment(tmp_path, {})
    path = Path(env["DATA_DIR"]) / "manifest.sqlite"
    manifest_of_version_1(path)
    if content == "newer":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        path.write_bytes(b"this is no database" * 100)
    ended = subprocess.run(
        [sys.executable, "-m", "rag_app"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    if content == "newer":
        assert version_of(path) == 99


async def _serving(name: str) -> ChunkStore:
    """A store whose alias leads to a collection of this name."""
    settings = RagSettings(_env_file=None)  # type: ignore[call-arg]
    client = AsyncQdrantClient(":memory:")
    collections = Collections(Qdrant(settings, client), "code")
    await collections.make(name, 3)
    await collections.point_alias(name)
    return ChunkStore(settings, client)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("code_v2_0123456789ab", r"has schema v2, this program knows v1: .* start that one \(docs/upgrading\.md\)"),
        (
            "code_v0_0123456789ab",
            r"another version of this program; to build it anew set COLLECTION=code-2 .* `code-assi",
        ),
        ("something", r"another version of this program; to build it anew set COLLECTION=code-2"),
        (
            "code_v1_ffffffffffff",
            r"another embedding model than 'toy' .* EMBEDDING_URL .* or to build it anew set",
        ),
    ],
)
async def test_an_index_that_this_program_does_not_serve_is_refused_with_what_to_do(name: str, words: str) -> None:
    store = await _serving(name)
    for asked in (store.check, store.prepare):
        with pytest.raises(Conflict, match=words):
            await asked(IDENTITY)


async def test_an_index_that_was_restored_is_of_the_same_make() -> None:
    store = await _serving("code_v1_0123456789ab_89abcdef")
    await store.check(IDENTITY)
    assert await store.prepare(IDENTITY) is False


@pytest.mark.parametrize("name", ["code_v1_0123456789ab", "a_v1_b_v12_0123456789ab", "code_v1_0123456789ab_89abcdef"])
def test_a_collections_name_is_read_and_written_alike(name: str) -> None:
    assert str(CollectionName.parse(name)) == name


@pytest.mark.parametrize(
    "name", ["code", "code_v1", "code_vx_0123456789ab", "code_v1_0123456789AB", "_v1_0123456789ab"]
)
def test_a_name_that_is_none_of_ours_is_not_read(name: str) -> None:
    assert CollectionName.parse(name) is None
