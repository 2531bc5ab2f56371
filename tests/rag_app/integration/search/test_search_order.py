"""What comes before what: stale points, long lists, equal scores, files, tests, messages, callers."""

from pathlib import Path

import pytest
from qdrant_client import AsyncQdrantClient

from rag_app.core.models import Chunk, Filters, SearchMode
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.features.search import candidates
from service_kit.errors import NotFound
from tests.support.chunks import make_chunk
from tests.support.indexed import SmallIndex, open_manifest
from tests.support.pools import find, places

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


async def test_points_that_the_manifest_does_not_name_are_never_shown(index: SmallIndex, repository: str) -> None:
    stale = [make_chunk("src/pool.py", f"lock lock release {i}", repository=repository, blob="old") for i in range(9)]
    await index.put_points(stale)
    for mode in ("hybrid", "sparse", "dense"):
        result = await find(index, "lock release", mode=mode)
        assert result.hits
        assert {hit.chunk.blob for hit in result.hits} == {"b1"}


async def test_stale_points_do_not_crowd_out_what_is_indexed(
    index: SmallIndex, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "ARM_DEPTH", 2)
    monkeypatch.setattr(candidates, "DEPTH_PER_HIT", 1)
    stale = [make_chunk("src/pool.py", f"acquire acquire {i}", repository=repository, blob="old") for i in range(20)]
    await index.put_points(stale)
    assert places(await find(index, "acquire", mode="sparse", limit=1)) == ["src/pool.py:10"]


async def test_a_long_list_is_chosen_from_so_many_candidates_that_tests_do_not_fill_it(index: SmallIndex) -> None:
    identifier = index.repository("tested")
    tests = [
        make_chunk(f"tests/test_{n}.py", "lock release", repository=identifier)
        for n in range(candidates.ARM_DEPTH + 60)
    ]
    code = make_chunk("src/pool.py", f"lock release {'zq ' * 8}", repository=identifier)
    await index.put(identifier, [*tests, code])
    # All tests say it more briefly: the code is behind the first 200 of either arm, and leads since tests stand back.
    assert places(await find(index, "lock release", limit=80))[0] == "src/pool.py:1"


@pytest.mark.parametrize("mode", ["dense", "sparse"])
async def test_a_bare_arm_lifts_nothing_that_says_the_query_word_for_word(index: SmallIndex, mode: SearchMode) -> None:
    identifier = index.repository("worded")
    said = make_chunk("said.py", f"the lock of the pool {'zq ' * 30}", repository=identifier)
    others = [make_chunk(f"other_{n}.py", "pool the of lock the", repository=identifier) for n in range(3)]
    await index.put(identifier, [said, *others])
    assert places(await find(index, "the lock of the pool", ranking={"verbatim_boost": 1}))[0] == "said.py:1"
    bare = await find(index, "the lock of the pool", mode=mode, ranking={"verbatim_boost": 1})
    assert places(bare)[-1] == "said.py:1"
    assert not any("verbatim" in hit.scores for hit in bare.hits)


async def test_equal_scores_at_an_arms_cut_give_the_same_hits_and_scores_in_whatever_order_they_were_indexed(
    index: SmallIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "ARM_DEPTH", 4)
    monkeypatch.setattr(candidates, "DEPTH_PER_HIT", 1)
    store = ChunkStore(RagSettings(_env_file=None), AsyncQdrantClient(":memory:"))
    other = SmallIndex(store, open_manifest(tmp_path / "other"), index.embedder)
    found = []
    for filled, way in ((index, 1), (other, -1)):
        identifier = filled.repository("tied")

        def chunk(path: str, text: str, line: int, repository: str = identifier) -> Chunk:
            return make_chunk(path, text, repository=repository, start_line=line)

        best = [chunk("a.py", "lock release lock release", 1), chunk("b.py", "lock release lock", 1)]
        # Whose file has another chunk that fits is lifted; here such a one is as good as four of other files.
        tied = [chunk("a.py", "lock in use", 9), *(chunk(f"{name}.py", "lock in use", 9) for name in "cdef")]
        await filled.put(identifier, [*best, *tied][::way])
        result = await find(filled, "lock release", limit=2)
        assert len(result.hits) == 2
        found.append(result.hits)
    forth, back = found
    assert [hit.chunk.span for hit in forth] == [hit.chunk.span for hit in back]
    assert [hit.score for hit in forth] == pytest.approx([hit.score for hit in back], abs=1e-6)
    other.manifest.close()
    await store.close()


async def test_at_most_three_chunks_of_a_file_while_others_have_something(index: SmallIndex) -> None:
    identifier = index.repository("long")
    many = [make_chunk("big.py", f"lock lock {i}", repository=identifier, start_line=i + 1) for i in range(8)]
    other = make_chunk("small.py", "some words and one lock: " + "zq " * 40, repository=identifier)
    await index.put(identifier, [*many, other])
    for text in ("lock", "where the lock is"):  # of the second more are read than are shown
        result = await find(index, text, limit=4)
        assert [hit.chunk.span.path for hit in result.hits].count("big.py") == 3, text


async def test_a_name_that_a_test_has_too_is_found_in_the_code_first_unless_places_are_named(index: SmallIndex) -> None:
    identifier = index.repository("named")
    defined = [
        make_chunk(path, "def connect(): ...", repository=identifier, symbol="connect", qualified_name="connect")
        for path in ("tests/a.py", "z/pool.py")
    ]
    await index.put(identifier, defined)
    assert places(await find(index, "connect", mode="symbol")) == ["z/pool.py:1", "tests/a.py:1"]
    told = await find(index, "connect", mode="symbol", filters=Filters(paths=("tests", "z")))
    assert places(told) == ["tests/a.py:1", "z/pool.py:1"]


async def test_a_message_that_was_pasted_finds_who_says_it_whatever_the_limit(index: SmallIndex) -> None:
    identifier = index.repository("messages")
    worded = [f"pool_{n}.py" for n in range(4)]
    others = [make_chunk(path, "lock lock of the pool is taken", repository=identifier) for path in worded]
    said = 'def take(self):\n    if self.held:\n        raise PoolError("The lock of  the pool is TAKEN already")'
    await index.put(identifier, [*others, make_chunk("src/errors.py", said, repository=identifier)])
    for limit in (1, 3, 10):
        result = await find(index, "the lock of the pool is taken already", limit=limit)
        assert result.hits[0].chunk.span.path == "src/errors.py"
        assert result.hits[0].scores["verbatim_boost"] > 0
        assert len(result.hits) <= limit


async def test_another_callers_repository_is_not_seen_and_moves_nothing(index: SmallIndex, repository: str) -> None:
    before = await find(index, "lock release", frozenset({repository}))
    theirs = index.repository("theirs")
    await index.put(theirs, [make_chunk(f"{i}.py", "lock release", repository=theirs) for i in range(30)])
    after = await find(index, "lock release", frozenset({repository}))
    assert [hit.chunk for hit in after.hits] == [hit.chunk for hit in before.hits]
    # The engine's sums run over other rows now: equal up to float32.
    assert [hit.score for hit in after.hits] == pytest.approx([hit.score for hit in before.hits], abs=1e-5)
    assert {hit.chunk.repository for hit in (await find(index, "lock release", limit=50)).hits} == {repository, theirs}


async def test_a_repository_named_in_the_query_is_searched_alone(index: SmallIndex, repository: str) -> None:
    theirs = index.repository("Flask")
    await index.put(theirs, [make_chunk("app.py", "lock release", repository=theirs)])
    for text, expected in (
        ("repo:flask lock", {theirs}),
        (f"lock repo:{theirs}", {theirs}),
        ("repo:Flask repo:pools lock", {theirs, repository}),
    ):
        assert {hit.chunk.repository for hit in (await find(index, text)).hits} == expected
    for unknown in ("repo:nope lock", f"repo:flask repo:{'x' * 40} lock"):
        with pytest.raises(NotFound, match="no repository"):
            await find(index, unknown)
    # Not yours is told like unknown.
    for hidden in ("repo:flask lock", f"repo:{theirs} lock"):
        with pytest.raises(NotFound, match="no repository"):
            await find(index, hidden, frozenset({repository}))


async def test_the_line_of_a_path_is_found_in_a_file_of_more_chunks_than_an_arm_brings(
    index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "ARM_DEPTH", 4)
    monkeypatch.setattr(candidates, "DEPTH_PER_HIT", 1)
    identifier = index.repository("long")
    await index.put(
        identifier,
        [
            make_chunk("src/long.py", f"x = {line}", repository=identifier, start_line=line, end_line=line + 9)
            for line in range(1, 400, 10)
        ],
    )
    for line in range(5, 400, 50):
        for query in (f"src/long.py:{line}", f"long.py#L{line}"):
            assert places(await find(index, query, limit=3))[0] == f"src/long.py:{line // 10 * 10 + 1}", query
    assert places(await find(index, "tests/long.py:275", limit=3))[0] != "src/long.py:271"
