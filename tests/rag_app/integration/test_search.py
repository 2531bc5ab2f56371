"""Search over the real manifest and Qdrant's engine in memory, with the embedding client over real HTTP."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from qdrant_client import AsyncQdrantClient

from rag_app.clients.embedding import ServiceEmbedder
from rag_app.core.models import Chunk, Filters, Scope, SearchMode, SearchQuery, SearchResult
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.features.search import candidates, query
from rag_app.features.search.router import search_router
from rag_app.features.search.service import SearchService
from rag_app.features.search.weights import Weights
from service_kit.app import create_service
from service_kit.errors import Conflict, NotFound, NothingToDo, Unavailable, ValidationFailed
from service_kit.metrics import HttpMetrics
from tests.support.chunks import make_chunk
from tests.support.fake_tei import FakeTei
from tests.support.indexed import SmallIndex, open_manifest
from tests.support.live import free_port, live

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

TEI = FakeTei(max_input_length=512, max_client_batch_size=64, extra_info={"dim": 8, "identity": "ab" * 16})


@pytest.fixture(scope="module")
def tei() -> Iterator[str]:
    with live(TEI.app()) as url:
        yield url


@pytest.fixture
async def index(tmp_path: Path, tei: str) -> AsyncIterator[SmallIndex]:
    settings = RagSettings(_env_file=None, embedding_url=tei)
    store = ChunkStore(settings, AsyncQdrantClient(":memory:"))
    embedder = ServiceEmbedder(settings)
    index = SmallIndex(store, open_manifest(tmp_path), embedder)
    yield index
    await embedder.close()
    await store.close()
    index.manifest.close()


def pool_chunks(repository: str) -> list[Chunk]:
    def chunk(path: str, text: str, qualified: str = "", **words: Any) -> Chunk:
        symbol = qualified.split(".")[-1]
        return make_chunk(path, text, repository=repository, symbol=symbol, qualified_name=qualified, **words)

    return [
        chunk("src/pool.py", "def close(self):\n    self.lock.release()", "Pool.close"),
        chunk("src/pool.py", "def open(self):\n    self.lock.acquire()", "Pool.open", start_line=10),
        chunk("src/http/server.py", "class HTTPServer:\n    port = 80", "HTTPServer", kind="class"),
        chunk("tests/test_pool.py", "def test_close():\n    pool.close()\n    lock.release()", "test_close"),
        chunk("docs/pool.md", "# The pool\nHow to release the lock", language="markdown", kind="section"),
    ]


@pytest.fixture
async def repository(index: SmallIndex) -> str:
    identifier = index.repository("pools")
    await index.put(identifier, pool_chunks(identifier))
    return identifier


def service_over(index: SmallIndex, **settings: Any) -> SearchService:
    return SearchService(index.store, index.manifest, index.embedder, RagSettings(_env_file=None, **settings))


async def find(index: SmallIndex, text: str, scope: Scope | None = None, **words: Any) -> SearchResult:
    return await service_over(index).search(SearchQuery(text, **words), scope or index.manifest.all_ids())


def places(result: SearchResult) -> list[str]:
    return [f"{hit.chunk.span.path}:{hit.chunk.span.start_line}" for hit in result.hits]


async def test_a_hit_is_whole_and_tells_where_it_is_and_why(index: SmallIndex, repository: str) -> None:
    result = await find(index, "where is the lock released")
    best = result.hits[0]
    assert best.chunk == pool_chunks(repository)[0]
    assert (best.ref, best.commit) == ("main", "c0ffee")
    assert 0 < best.score <= 1
    assert {"dense", "sparse", "sparse_share", "fused", "dense_rank", "sparse_rank"} <= set(best.scores)
    assert result.degraded == ()
    assert set(result.took_ms) == {"manifest", "embedding", "index", "rank", "fetch", "total"}
    assert result.took_ms["total"] >= result.took_ms["index"]


@pytest.mark.usefixtures("repository")
class TestModes:
    async def test_words_find_by_words_without_any_embedding(self, index: SmallIndex) -> None:
        asked = len(TEI.bodies)
        result = await find(index, "acquire", mode="sparse")
        assert places(result) == ["src/pool.py:10"]
        assert len(TEI.bodies) == asked
        assert "dense" not in result.hits[0].scores

    async def test_meaning_finds_what_shares_no_word(self, index: SmallIndex) -> None:
        result = await find(index, "zzz releasing locks self", mode="dense", limit=2)
        assert len(result.hits) == 2
        assert all("sparse" not in hit.scores for hit in result.hits)
        assert result.hits[0].scores["dense"] >= result.hits[1].scores["dense"]

    async def test_words_that_no_chunk_has_find_nothing(self, index: SmallIndex) -> None:
        assert places(await find(index, "pancake", mode="sparse")) == []

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Pool.close", ["src/pool.py:1"]),
            ("close", ["src/pool.py:1"]),
            ("httpserver", ["src/http/server.py:1"]),
            ("HTTPS", ["src/http/server.py:1"]),
            ("pool", ["src/pool.py:10", "src/pool.py:1"]),
            ("Pool::open()", ["src/pool.py:10"]),
            ("nothing_of_the_kind", []),
        ],
    )
    async def test_symbols_by_name_or_beginning(self, index: SmallIndex, text: str, expected: list[str]) -> None:
        assert places(await find(index, text, mode="symbol")) == expected

    async def test_the_very_name_of_a_definition_puts_it_first(self, index: SmallIndex) -> None:
        result = await find(index, "HTTPServer")
        assert places(result)[0] == "src/http/server.py:1"
        assert result.hits[0].scores["definition_boost"] > 0

    async def test_tests_and_docs_stand_behind_code_unless_asked_for(self, index: SmallIndex) -> None:
        words = {"dense_share": 0.0}
        assert places(await find(index, "lock release", ranking=words))[0] == "src/pool.py:1"
        assert places(await find(index, "the test of lock release", ranking=words))[0] == "tests/test_pool.py:1"
        docs = await find(index, "lock release", ranking=words, filters=Filters(paths=("docs", "src")))
        assert {"docs", "src"} == {hit.chunk.span.path.split("/")[0] for hit in docs.hits}
        assert all(hit.scores.get("path_weight", 1) == 1 for hit in docs.hits)

    async def test_another_weight_for_one_search_changes_its_order_and_is_told(self, index: SmallIndex) -> None:
        usual = await find(index, "lock release", ranking={"dense_share": 0.0})
        without = {"test_weight": 1, "docs_weight": 1, "evidence_boost": 0}
        alike = await find(index, "lock release", ranking={"dense_share": 0.0, **without})
        assert places(usual)[0] == "src/pool.py:1"
        assert places(alike)[0] != "src/pool.py:1"
        assert alike.asked is not None
        assert (alike.asked.weights["test_weight"], alike.asked.weights_from) == (1, "request")

    @pytest.mark.parametrize("mode", ["dense", "sparse"])
    async def test_a_bare_arm_is_in_the_order_of_its_own_scores(self, index: SmallIndex, mode: SearchMode) -> None:
        result = await find(index, "lock release", mode=mode)
        scores = [hit.scores[mode] for hit in result.hits]
        assert len(scores) > 2
        assert scores == sorted(scores, reverse=True)
        assert all("path_weight" not in hit.scores for hit in result.hits)

    async def test_a_limit_is_kept(self, index: SmallIndex) -> None:
        assert len((await find(index, "lock", limit=2)).hits) == 2

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            (Filters(languages=("markdown",)), {"docs/pool.md"}),
            (Filters(paths=("src/",)), {"src/pool.py", "src/http/server.py"}),
            (Filters(paths=("src/http/server.py",)), {"src/http/server.py"}),
            (Filters(paths=("**/test_*.py",)), {"tests/test_pool.py"}),
            (Filters(paths=("*.md", "src/http")), {"docs/pool.md", "src/http/server.py"}),
            (Filters(paths=("*.go",)), set()),
            (Filters(symbols=("Pool.open",)), {"src/pool.py"}),
            (Filters(symbols=("Pool::open()",)), {"src/pool.py"}),
            (Filters(languages=("python",), paths=("docs/",)), set()),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("mode", ["hybrid", "dense"])
    async def test_filters_are_exact(self, index: SmallIndex, filters: Filters, expected: set[str], mode: Any) -> None:
        result = await find(index, "the lock of the pool", filters=filters, mode=mode)
        assert {hit.chunk.span.path for hit in result.hits} == expected

    async def test_a_glob_that_takes_too_many_paths_to_name_is_still_exact(
        self, index: SmallIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(query, "MAX_EXACT_PATHS", 0)
        monkeypatch.setattr(candidates, "ARM_DEPTH", 1)
        monkeypatch.setattr(candidates, "DEPTH_PER_HIT", 1)
        result = await find(index, "lock", mode="dense", filters=Filters(paths=("**/server.py",)), limit=1)
        assert places(result) == ["src/http/server.py:1"]

    async def test_symbol_mode_obeys_filters(self, index: SmallIndex) -> None:
        filters = Filters(paths=("tests/",))
        assert places(await find(index, "test", mode="symbol", filters=filters)) == ["tests/test_pool.py:1"]
        assert places(await find(index, "close", mode="symbol", filters=filters)) == []
        assert places(await find(index, "close", mode="symbol", filters=Filters(symbols=("Pool.open",)))) == []

    @pytest.mark.parametrize(
        ("text", "asked", "expected"),
        [
            ("lock of the pool lang:markdown", Filters(), {"docs/pool.md"}),
            ("lang:md lock of the pool", Filters(), {"docs/pool.md"}),
            ("lock path:src/", Filters(), {"src/pool.py", "src/http/server.py"}),
            ("path:docs path:src/http lock", Filters(), {"docs/pool.md", "src/http/server.py"}),
            ('path:"**/test_*.py" lock', Filters(), {"tests/test_pool.py"}),
            ("path:**/*pool* lang:python lock", Filters(), {"src/pool.py", "tests/test_pool.py"}),
            ("lock file:src/pool.py:12", Filters(), {"src/pool.py"}),
            ("symbol:Pool::open lock", Filters(), {"src/pool.py"}),
            ("symbol:HTTPServer", Filters(), {"src/http/server.py"}),
            ("lang:go lock", Filters(), set()),
            ("lock", Filters(languages=("md",)), {"docs/pool.md"}),
            ("path:*.go lock", Filters(), set()),
            # Both the request's filters and the query's.
            ("lang:python lock", Filters(languages=("Markdown", "Python"), paths=("tests",)), {"tests/test_pool.py"}),
            ("lang:python lock", Filters(languages=("markdown",)), set()),
            ("path:src/pool.py lock", Filters(paths=("src/",)), {"src/pool.py"}),
            ("path:src lock", Filters(paths=("src/pool.py",)), {"src/pool.py"}),
            ("path:src lock", Filters(paths=("docs",)), set()),
            ("path:*.py lock", Filters(paths=("tests", "docs")), {"tests/test_pool.py"}),
            ("path:tests path:docs lock", Filters(paths=("*.md", "*.go")), {"docs/pool.md"}),
            ("path:**/*pool* lock", Filters(paths=("src/**/*.py",)), {"src/pool.py"}),
            ("symbol:open lock", Filters(symbols=("Pool.open", "HTTPServer")), {"src/pool.py"}),
            ("symbol:open lock", Filters(symbols=("HTTPServer",)), set()),
        ],
        ids=str,
    )
    async def test_filters_in_the_query_hold_with_those_of_the_request(
        self, index: SmallIndex, text: str, asked: Filters, expected: set[str]
    ) -> None:
        result = await find(index, text, filters=asked)
        assert {hit.chunk.span.path for hit in result.hits} == expected

    async def test_a_place_in_prose_lifts_its_file_and_takes_no_other_away(self, index: SmallIndex) -> None:
        plain = await find(index, "what is in http/server.py about the lock", limit=10)
        result = await find(index, "what is in http/server.py:3 about the lock", limit=10)
        assert set(places(result)) == set(places(plain))
        lifted = {hit.chunk.span.path for hit in result.hits if "path_boost" in hit.scores}
        assert lifted == {"src/http/server.py"}
        assert (await find(index, "where is the file:line of a lock parsed")).hits

    async def test_two_globs_that_take_too_many_paths_to_name_are_still_exact(
        self, index: SmallIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(query, "MAX_EXACT_PATHS", 0)
        for asked in (Filters(paths=("src/**/*.py",)), Filters(paths=("src/pool.py", "docs/*.md"))):
            result = await find(index, "path:src/p*.py path:src/http lock", filters=asked, limit=1)
            assert {hit.chunk.span.path for hit in result.hits} == {"src/pool.py"}

    async def test_what_is_searched_is_the_query_without_its_filters(self, index: SmallIndex) -> None:
        plain = await find(index, "release lock", mode="sparse", filters=Filters(paths=("src",)))
        typed = await find(index, "release path:src lock", mode="sparse")
        assert [(hit.chunk.id, hit.score) for hit in typed.hits] == [(hit.chunk.id, hit.score) for hit in plain.hits]
        assert places(await find(index, "path:src close", mode="symbol")) == ["src/pool.py:1"]

    async def test_a_filter_in_quotes_is_words(self, index: SmallIndex) -> None:
        quoted = await find(index, '"lang:markdown" lock', mode="sparse")
        assert {"docs/pool.md", "src/pool.py"} < {hit.chunk.span.path for hit in quoted.hits}
        assert (await find(index, "std::lock http://lock lang: lock", mode="sparse")).hits

    async def test_a_glob_or_a_crowd_of_filters_that_cannot_be_meant_is_refused(self, index: SmallIndex) -> None:
        with pytest.raises(ValidationFailed, match="is not a glob"):
            await find(index, "path:[z-a]* lock")
        with pytest.raises(ValidationFailed, match="51 different path: filters"):
            await find(index, " ".join(f"path:f{n}" for n in range(51)))

    async def test_a_language_that_is_none_is_refused_in_words_by_the_request_and_in_the_query(
        self, index: SmallIndex
    ) -> None:
        for text, filters in (("lock lang:klingon", Filters()), ("lock", Filters(languages=("Klingon",)))):
            with pytest.raises(ValidationFailed, match=r"(?i)no language is called 'klingon'; there are bash, c, "):
                await find(index, text, filters=filters)
        assert (await find(index, '"lang:klingon" lock')).hits

    async def test_a_ref_that_nobody_has_is_not_found(self, index: SmallIndex) -> None:
        with pytest.raises(NotFound, match="'nope'"):
            await find(index, "lock", ref="nope")
        assert (await find(index, "lock", ref="main")).hits

    async def test_the_retriever_gives_nodes_for_the_hits(self, index: SmallIndex) -> None:
        retriever = service_over(index).retriever(SearchQuery("", limit=2), index.manifest.all_ids())
        nodes = await retriever.aretrieve("lock release")
        assert [node.node_id for node in nodes] == [hit.chunk.id for hit in retriever.result.hits]
        assert [node.get_content() for node in nodes] == [hit.chunk.text for hit in retriever.result.hits]
        first = retriever.result.hits[0]
        assert nodes[0].score == first.score
        assert nodes[0].metadata == {
            "path": "src/pool.py",
            "start_line": 1,
            "end_line": 2,
            "repository": first.chunk.repository,
            "commit": "c0ffee",
            "language": "python",
            "qualified_name": "Pool.close",
        }

    async def test_the_retriever_is_asynchronous_only_and_says_so(self, index: SmallIndex) -> None:
        with pytest.raises(NotImplementedError, match="await aretrieve"):
            service_over(index).retriever(SearchQuery("x"), frozenset()).retrieve("lock")

    async def test_the_retriever_refuses_what_search_refuses(self, index: SmallIndex) -> None:
        retriever = service_over(index).retriever(SearchQuery("x", limit=2), index.manifest.all_ids())
        with pytest.raises(NothingToDo):
            await retriever.aretrieve("  ")


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


async def test_nothing_indexed_and_an_empty_scope_find_nothing(index: SmallIndex) -> None:
    assert (await find(index, "lock", frozenset())).hits == ()
    index.repository("empty")
    assert (await find(index, "lock", frozenset({"unknown"}))).hits == ()


async def test_a_model_other_than_the_index_was_built_with_is_refused(index: SmallIndex, repository: str) -> None:
    TEI.extra_info["identity"], before = "cd" * 16, TEI.extra_info["identity"]
    try:
        other = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=index.embedder._client._http._base_url))  # type: ignore[attr-defined]
        service = SearchService(index.store, index.manifest, other, RagSettings(_env_file=None))
        with pytest.raises(Conflict, match="another embedding model"):
            await service.search(SearchQuery("lock"), frozenset({repository}))
        await other.close()
    finally:
        TEI.extra_info["identity"] = before


class TestFailures:
    async def test_without_the_embedding_service_words_answer_and_it_says_so(
        self, index: SmallIndex, repository: str
    ) -> None:
        down = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=f"http://127.0.0.1:{free_port()}"))
        service = SearchService(index.store, index.manifest, down, RagSettings(_env_file=None))
        result = await service.search(SearchQuery("lock release"), frozenset({repository}))
        assert result.degraded == ("embedding",)
        assert places(result)[0] == "src/pool.py:1"
        with pytest.raises(Unavailable, match="mode 'dense' needs the embedding service") as caught:
            await service.search(SearchQuery("lock", mode="dense"), frozenset({repository}))
        assert caught.value.retry_after_s == 1
        assert (await service.search(SearchQuery("lock", mode="sparse"), frozenset({repository}))).degraded == ()
        assert (await service.search(SearchQuery("close", mode="symbol"), frozenset({repository}))).hits
        nothing = await service.search(SearchQuery("pancake"), frozenset({repository}))
        assert (nothing.hits, nothing.degraded) == ((), ("embedding",))
        await down.close()

    async def test_without_qdrant_search_is_unavailable(self, index: SmallIndex, repository: str) -> None:
        gone = ChunkStore(RagSettings(_env_file=None, qdrant_port=free_port()))
        service = SearchService(gone, index.manifest, index.embedder, RagSettings(_env_file=None))
        with pytest.raises(Unavailable, match="QDRANT_HOST") as caught:
            await service.search(SearchQuery("lock"), frozenset({repository}))
        assert caught.value.retry_after_s == 1
        await gone.close()

    @pytest.mark.parametrize(
        ("asked", "error"),
        [
            (SearchQuery(" "), NothingToDo),
            (SearchQuery("x" * 8001), ValidationFailed),
            (SearchQuery("x", limit=0), ValidationFailed),
            (SearchQuery("x", limit=101), ValidationFailed),
        ],
        ids=["blank", "long", "limit 0", "limit 101"],
    )
    async def test_bad_queries(self, index: SmallIndex, asked: SearchQuery, error: type[Exception]) -> None:
        with pytest.raises(error):
            await service_over(index).search(asked, frozenset({"r"}))


class TestRoute:
    @pytest.fixture
    async def http(self, index: SmallIndex) -> AsyncIterator[httpx.AsyncClient]:
        async def ready() -> list[Any]:
            return []

        app: FastAPI = create_service("rag", readiness=ready, metrics=HttpMetrics("rag"), max_body_bytes=1_000_000)
        app.include_router(search_router(service_over(index), index.manifest.all_ids, RagSettings(_env_file=None)))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://rag") as client:
            yield client

    async def test_the_shape_of_an_answer(self, http: httpx.AsyncClient, repository: str) -> None:
        body = {"query": "lock release", "repositories": [repository], "limit": 1, "languages": ["python"]}
        answer = (await http.post("/v1/search", json=body)).json()
        (hit,) = answer["hits"]
        assert set(answer) == {"hits", "degraded", "took_ms"}
        scores = hit.pop("scores")
        assert scores["fused"] <= hit.pop("score") <= 1
        assert set(scores) == {"dense", "sparse", "sparse_share", "fused"}
        assert hit == {
            "id": pool_chunks(repository)[0].id,
            "repository": repository,
            "ref": "main",
            "commit": "c0ffee",
            "path": "src/pool.py",
            "start_line": 1,
            "end_line": 2,
            "language": "python",
            "symbol": "Pool.close",
            "content": "def close(self):\n    self.lock.release()",
        }

    async def test_explain_tells_ranks_parts_and_weights(self, http: httpx.AsyncClient, repository: str) -> None:
        body = {"query": "lock release", "explain": True}
        answer = (await http.post("/v1/search", json=body)).json()
        hits, asked = answer["hits"], answer["query"]
        assert (asked["kind"], asked["text"], asked["weights_from"]) == ("words", "lock release", "default")
        assert asked["weights"]["test_weight"] == Weights().test_weight
        assert asked["filters"] == {"languages": [], "paths": [], "symbols": [], "repositories": []}
        assert {"dense_rank", "sparse_rank", "dense_part", "sparse_part", "path_weight"} <= set(hits[0]["scores"])
        of_test = next(hit for hit in hits if hit["path"].startswith("tests/"))
        assert of_test["scores"]["path_weight"] == Weights().test_weight
        assert of_test["score"] == pytest.approx(of_test["scores"]["fused"] * Weights().test_weight)

    @pytest.mark.usefixtures("repository")
    @pytest.mark.parametrize(
        ("body", "status", "code", "words"),
        [
            ({"query": ""}, 400, "empty", "blank"),
            ({"query": " \n"}, 400, "empty", "blank"),
            ({"query": "x" * 100_000}, 422, "validation", "100000 characters; the limit is 8000"),
            ({"query": "x", "limit": 0}, 422, "validation", "limit is 0; it may be 1 to 100"),
            ({"query": "x", "limit": 10_000}, 422, "validation", "limit is 10000; it may be 1 to 100"),
            ({"query": "x", "ranking": {"luck": 1}}, 422, "validation", "'luck'"),
            ({"query": "x", "ranking": {"dense_share": 2}}, 422, "validation", "dense_share is 2"),
            ({"query": "x", "mode": "psychic"}, 422, "validation", "mode"),
            ({"query": "x", "language": ["python"]}, 422, "validation", "language"),
            ({"query": "x", "repositories": ["nope"]}, 404, "not_found", "'nope'"),
            ({"query": "x", "ref": "nope"}, 404, "not_found", "'nope'"),
            ({"query": "x", "paths": ["[z-a]*"]}, 422, "validation", "'[z-a]*'"),
            ({"query": "x", "paths": ["[a--b]"], "mode": "symbol"}, 422, "validation", "'[a--b]'"),
            ({"query": "x", "paths": ["x" * 5_000]}, 422, "validation", "4096"),
            ({"query": 7}, 422, "validation", "query"),
            ({}, 422, "validation", "query"),
        ],
        ids=lambda value: str(value)[:40],
    )
    async def test_bad_requests_name_the_value_and_the_limit(
        self, http: httpx.AsyncClient, body: dict[str, Any], status: int, code: str, words: str
    ) -> None:
        response = await http.post("/v1/search", json=body)
        assert response.status_code == status
        error = response.json()["error"]
        assert error["code"] == code
        assert words in error["message"]

    async def test_a_body_that_is_not_json(self, http: httpx.AsyncClient) -> None:
        response = await http.post("/v1/search", content=b"{", headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "validation")
