"""What a search finds in each mode, and what its filters, its ref and its scores are."""

from typing import Any

import pytest

from rag_app.core.models import Filters, SearchMode, SearchQuery
from rag_app.features.search import candidates, query
from service_kit.errors import NotFound, NothingToDo, ValidationFailed
from tests.support.fake_tei import FakeTei
from tests.support.indexed import SmallIndex
from tests.support.pools import find, places, pool_chunks, service_over

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


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
    async def test_words_find_by_words_without_any_embedding(self, index: SmallIndex, tei: FakeTei) -> None:
        asked = len(tei.bodies)
        result = await find(index, "acquire", mode="sparse")
        assert places(result) == ["src/pool.py:10"]
        assert len(tei.bodies) == asked
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
            (Filters(paths=("server.py",)), {"src/http/server.py"}),
            (Filters(paths=("http/server.py",)), {"src/http/server.py"}),
            (Filters(paths=("/server.py",)), set()),
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
