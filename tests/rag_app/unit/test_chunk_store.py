"""The chunk store against qdrant-client's own engine in memory."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models

from rag_app.core.bm25 import document_vector, query_vector
from rag_app.core.models import EmbeddedChunk, ModelIdentity, Scope
from rag_app.core.settings import RagSettings
from rag_app.core.tokens import document_terms
from rag_app.db.chunks import Arm, ChunkStore
from rag_app.db.filters import Selection, condition, folders_of, names_of
from service_kit.errors import Conflict
from tests.support.chunks import make_chunk

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

IDENTITY = ModelIdentity("toy", 3, 256, "a" * 64)
ALL: Scope = frozenset({"r1", "r2"})
EVERYTHING = Selection(ALL, frozenset({"base"}))


def embedded(path: str, text: str, dense: tuple[float, ...], **words: Any) -> EmbeddedChunk:
    chunk = make_chunk(path, text, **words)
    return EmbeddedChunk(chunk, dense, document_vector(document_terms(path, chunk.qualified_name, text)))


CHUNKS = [
    embedded(
        "src/pool.py", "close the pool", (1, 0, 0), symbol="close", qualified_name="Pool.close", language="python"
    ),
    embedded(
        "src/db/lock.py", "take the lock", (0, 1, 0), symbol="take", qualified_name="db.Lock.take", language="python"
    ),
    embedded("docs/guide.md", "how to close a pool", (0.8, 0.6, 0), language="markdown"),
    embedded("src/pool.py", "close the other pool", (1, 0, 0), repository="r2", symbol="close", language="python"),
]


@pytest.fixture
async def store() -> AsyncIterator[ChunkStore]:
    store = ChunkStore(RagSettings(_env_file=None), AsyncQdrantClient(":memory:"))
    await store.prepare(IDENTITY)
    await store.upsert(CHUNKS)
    yield store
    await store.close()


async def paths(store: ChunkStore, selection: Selection) -> list[str]:
    return sorted(chunk.span.path for chunk in await store.named(selection, 100))


async def test_both_arms_come_back_from_one_request_each_best_first(store: ChunkStore) -> None:
    asked = query_vector("lock", dict.fromkeys(document_terms("", "", "lock"), 1), 4)
    dense, sparse = await store.query([Arm((1.0, 0.0, 0.0), 3), Arm(asked, 3)], EVERYTHING)
    assert {found.chunk.id for found in dense[:2]} == {CHUNKS[0].chunk.id, CHUNKS[3].chunk.id}
    assert [round(found.score, 4) for found in dense] == [1.0, 1.0, 0.8]
    assert [found.chunk.span.path for found in sparse] == ["src/db/lock.py"]


async def test_candidates_come_without_text_and_retrieve_brings_it_in_the_order_asked(store: ChunkStore) -> None:
    (dense,) = await store.query([Arm((1.0, 0.0, 0.0), 1)], EVERYTHING)
    assert dense[0].chunk.text == ""
    ids = [CHUNKS[2].chunk.id, CHUNKS[0].chunk.id, "00000000-0000-0000-0000-00000000dead"]
    assert await store.retrieve(ids, ALL) == [CHUNKS[2].chunk, CHUNKS[0].chunk]


@pytest.mark.parametrize(
    ("narrowing", "expected"),
    [
        ({"languages": ("markdown",)}, ["docs/guide.md"]),
        ({"folders": ("src/",)}, ["src/db/lock.py", "src/pool.py", "src/pool.py"]),
        ({"folders": ("src/db/",)}, ["src/db/lock.py"]),
        ({"folders": ("sr",)}, []),
        ({"paths": ("src/pool.py",)}, ["src/pool.py", "src/pool.py"]),
        ({"paths": ("docs/guide.md",), "folders": ("src/db/",)}, ["docs/guide.md", "src/db/lock.py"]),
        ({"names": ("Close",)}, ["src/pool.py", "src/pool.py"]),
        ({"names": ("pool.close",)}, ["src/pool.py"]),
        ({"names": ("Lock.take",)}, ["src/db/lock.py"]),
        ({"name_prefix": "ta"}, ["src/db/lock.py"]),
        ({"languages": ("python",), "names": ("nothing",)}, []),
        ({"repositories": frozenset({"r2"})}, ["src/pool.py"]),
        ({"layers": frozenset({"other"})}, []),
        ({"repositories": frozenset()}, []),
    ],
    ids=str,
)
async def test_a_selection_is_exact(store: ChunkStore, narrowing: dict, expected: list[str]) -> None:  # type: ignore[type-arg]
    base = {"repositories": ALL, "layers": frozenset({"base"})}
    assert await paths(store, Selection(**{**base, **narrowing})) == expected


async def test_the_filter_is_in_each_arm(store: ChunkStore) -> None:
    asked = query_vector("close", dict.fromkeys(document_terms("", "", "close"), 1), 4)
    only = Selection(frozenset({"r2"}), frozenset({"base"}))
    arms = await store.query([Arm((1.0, 0.0, 0.0), 10), Arm(asked, 10)], only)
    assert [[found.chunk.repository for found in arm] for arm in arms] == [["r2"], ["r2"]]


async def test_nothing_out_of_scope_is_read(store: ChunkStore) -> None:
    scope: Scope = frozenset({"r2"})
    ids = [embedded.chunk.id for embedded in CHUNKS]
    assert [chunk.repository for chunk in await store.retrieve(ids, scope)] == ["r2"]
    assert [found.chunk.id for found in await store.scored((1.0, 0.0, 0.0), ids, scope)] == [CHUNKS[3].chunk.id]
    assert await store.count(scope) == 1
    assert await store.count(frozenset()) == 0


async def test_a_file_comes_back_whole_by_line(store: ChunkStore) -> None:
    parts = [embedded("long.py", f"line {i}", (0, 0, 1), start_line=i) for i in range(200, 0, -1)]
    await store.upsert([*parts, embedded("long.py", "older", (0, 0, 1), blob="b0")])
    found = await store.of_blob("r1", "base", "long.py", "b1", ALL)
    assert [chunk.span.start_line for chunk in found] == list(range(1, 201))
    assert await store.of_blob("r1", "base", "long.py", "b1", frozenset({"r2"})) == []
    assert await store.of_blob("r1", "base", "none.py", "b1", ALL) == []


async def test_given_chunks_come_whole_with_their_cosines(store: ChunkStore) -> None:
    found = {
        one.chunk: one.score
        for one in await store.scored((0.0, 1.0, 0.0), [CHUNKS[2].chunk.id, CHUNKS[0].chunk.id], ALL)
    }
    assert found == {CHUNKS[2].chunk: pytest.approx(0.6), CHUNKS[0].chunk: pytest.approx(0.0)}
    assert await store.scored((0.0, 1.0, 0.0), [], ALL) == []


async def test_a_chunk_written_twice_is_there_once(store: ChunkStore) -> None:
    await store.upsert(CHUNKS)
    assert await store.count(ALL) == len(CHUNKS)


async def test_more_chunks_than_fit_one_request_are_all_written(store: ChunkStore) -> None:
    await store.upsert([embedded(f"many/{i}.py", "x", (0, 0, 1)) for i in range(300)])
    assert await store.count(ALL) == len(CHUNKS) + 300


async def test_deleting_blobs_leaves_the_same_path_with_another_blob_and_other_repositories(store: ChunkStore) -> None:
    newer = embedded("src/pool.py", "close it", (1, 0, 0), blob="b2")
    await store.upsert([newer])
    await store.delete_blobs("r1", "base", {("src/pool.py", CHUNKS[0].chunk.blob), ("docs/guide.md", "unknown")})
    left = {chunk.id for chunk in await store.named(EVERYTHING, 100)}
    assert left == {newer.chunk.id, *(chunk.chunk.id for chunk in CHUNKS[1:])}


async def test_deleting_a_repository_leaves_the_others(store: ChunkStore) -> None:
    await store.delete_repository("r1")
    assert await store.count(ALL) == 1


async def test_deleting_no_blobs_deletes_nothing(store: ChunkStore) -> None:
    await store.delete_blobs("r1", "base", set())
    assert await store.count(ALL) == len(CHUNKS)


async def test_preparing_again_keeps_what_is_there(store: ChunkStore) -> None:
    assert await store.prepare(IDENTITY) is False
    assert await store.count(ALL) == len(CHUNKS)


async def test_vectors_of_another_model_are_refused(store: ChunkStore) -> None:
    other = ModelIdentity("other", 3, 256, "b" * 64)
    with pytest.raises(Conflict, match=r"another embedding model than 'other'.*EMBEDDING_MODEL"):
        await store.prepare(other)
    with pytest.raises(Conflict):
        await store.check(other)
    await store.check(IDENTITY)


async def test_an_index_of_another_version_is_refused_with_a_way_out_that_works(store: ChunkStore) -> None:
    client = store._client
    await client.update_collection_aliases(
        [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=f"code_v1_{'a' * 12}", alias_name="older")
            )
        ]
    )
    older = ChunkStore(RagSettings(_env_file=None, collection="older"), client)
    with pytest.raises(Conflict, match=r"another version of this program; to build it anew set COLLECTION=older-2"):
        await older.prepare(IDENTITY)
    anew = ChunkStore(RagSettings(_env_file=None, collection="newer"), client)
    assert await anew.prepare(ModelIdentity("other", 5, 256, "b" * 64)) is True
    assert await store.count(ALL) == len(CHUNKS)


async def test_a_fresh_store_learns_which_model_the_index_is_of() -> None:
    client = AsyncQdrantClient(":memory:")
    await ChunkStore(RagSettings(_env_file=None), client).prepare(IDENTITY)
    later = ChunkStore(RagSettings(_env_file=None), client)
    await later.check(IDENTITY)
    with pytest.raises(Conflict):
        await later.check(ModelIdentity("other", 3, 256, "b" * 64))


async def test_before_anything_was_indexed_there_is_nothing_to_count_or_delete() -> None:
    store = ChunkStore(RagSettings(_env_file=None), AsyncQdrantClient(":memory:"))
    await store.ready()
    await store.check(IDENTITY)
    await store.delete_repository("r1")
    assert await store.count(ALL) == 0
    assert await store.retrieve([], ALL) == []


def test_folders_of_a_path() -> None:
    assert folders_of("a/b/c.py") == ["a/", "a/b/"]
    assert folders_of("c.py") == []


def test_names_of_a_chunk() -> None:
    assert names_of("take", "db.Lock.take") == ["db.lock.take", "lock.take", "take"]
    assert names_of("", "") == []


@pytest.mark.parametrize("searched", [ALL, frozenset({"r1"})])
async def test_a_whole_selection_finds_what_an_exact_one_does_strangers_or_not(
    store: ChunkStore, searched: Scope
) -> None:
    # With r1 alone, r2 is a stranger: a repository that is being deleted, or that was registered a moment ago.
    exact = Selection(searched, frozenset({"base"}))
    arms = [Arm((1.0, 0.0, 0.0), 2)]
    assert await store.query(arms, replace(exact, is_whole=True)) == await store.query(arms, exact)
    assert {found.chunk.repository for (arm) in await store.query(arms, exact) for found in arm} <= searched


def test_a_whole_selection_is_asked_for_without_its_repositories() -> None:
    asked = condition(EVERYTHING, of_any_repository=True).model_dump_json()
    assert "repository" not in asked
    assert "layer" in asked
    assert "repository" in condition(EVERYTHING).model_dump_json()
