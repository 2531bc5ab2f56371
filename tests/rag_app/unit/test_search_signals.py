"""What speaks for a candidate beside its arms: the kind of its file, its neighbours, its tests, names and paths."""

from collections.abc import Sequence
from typing import Any

import pytest

from rag_app.core.models import Chunk
from rag_app.features.search.signals import (
    Evidence,
    boosts,
    class_weight,
    definitions,
    evidence,
    file_boosts,
    file_weight,
    is_called,
    is_path_of,
)
from rag_app.features.search.understanding import Understood, understood
from rag_app.features.search.weights import Weights, neutral
from tests.support.chunks import make_chunk

WEIGHTS = Weights()
POOL = make_chunk("src/db/pool.py", "def close", symbol="close", qualified_name="db.Pool.close")
TEST = make_chunk("tests/test_pool.py", "def test_close")
TOLD = Evidence({("r1", "src/db/pool.py"): 0.0, ("r1", "tests/test_pool.py"): 0.0}, {})


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("src/app.py", "where is the app created", 1.0),
        ("src/app.py", "the tests", 1.0),
        ("tests/test_app.py", "where is the app created", WEIGHTS.test_weight),
        ("tests/test_app.py", "the test of the app", 1.0),
        ("tests/test_app.py", "which fixtures make the client", 1.0),
        ("README.md", "app creation", WEIGHTS.docs_weight),
        ("README.md", "where is the app created", WEIGHTS.prose_docs_weight),
        ("README.md", "how is it documented", 1.0),
        ("package.json", "where is the app created", WEIGHTS.config_weight),
        ("dist/app.js", "where is the app created", WEIGHTS.generated_weight),
        ("compat.py", "where is the app created", WEIGHTS.deprecated_weight),
        ("compat.py", "compatibility with older versions", 1.0),
        ("vendor/app.js", "where is the app created", WEIGHTS.vendored_weight),
        ("examples/app.js", "where is the app created", WEIGHTS.example_weight),
    ],
)
def test_what_is_no_code_stands_back_unless_the_query_asks_for_it(path: str, query: str, weight: float) -> None:
    assert class_weight(make_chunk(path, "x"), understood(query), WEIGHTS) == weight
    assert weight == 1.0 or weight < 0.7


def test_a_chunk_is_called_by_its_symbol_its_qualified_name_and_the_ends_of_it() -> None:
    assert all(is_called(POOL, name) for name in ("close", "pool.close", "db.pool.close"))
    assert not any(is_called(POOL, name) for name in ("ool.close", "pool", "clos", "b.pool.close"))


def test_a_path_is_named_whole_by_its_end_or_by_a_folder() -> None:
    assert all(
        is_path_of(path, POOL.span.path) for path in ("src/db/pool.py", "pool.py", "db/Pool.py", "/src/db/", "db")
    )
    assert not any(is_path_of(path, POOL.span.path) for path in ("ool.py", "pool", "b/pool.py", "src/pool.py"))


def found(chunk: Chunk, query: str, told: Evidence = TOLD, weights: Weights = WEIGHTS) -> dict[str, float]:
    asked = understood(query)
    return dict(
        boosts(chunk, asked, weights, file_boosts(chunk, asked, weights, told), definitions([chunk], asked, weights))
    )


def test_a_definition_is_lifted_by_its_very_name_and_not_by_a_mention() -> None:
    assert found(POOL, "Pool.close") == {"definition_boost": WEIGHTS.definition_boost}
    assert found(POOL, "where is `Pool.close` called") == {}
    assert found(POOL, "Pool.open") == {}


def named_session(kind: str, symbol: str, **words: Any) -> Chunk:
    return make_chunk("sessions.py", f"{kind} {symbol}", kind=kind, symbol=symbol, qualified_name=symbol, **words)


CLASS, FUNCTION = named_session("class", "Session"), named_session("function", "session", start_line=90)
REST = make_chunk("sessions.py", "rest", kind="class", symbol="Session", qualified_name="Session", start_line=40)


@pytest.mark.parametrize(
    ("query", "shares"),
    [
        ("Session", {CLASS: 1, FUNCTION: 0.5, REST: 0.5}),
        ("class Session", {CLASS: 1, FUNCTION: 0.25, REST: 0.5}),
        ("session", {CLASS: 0.5, FUNCTION: 1, REST: 0.25}),
        ("function session()", {CLASS: 0.25, FUNCTION: 1, REST: 0.125}),
        ("SESSION", {CLASS: 1, FUNCTION: 1, REST: 0.5}),
        ("where are sessions closed", {}),
    ],
)
def test_of_definitions_of_one_name_that_of_the_letters_and_kind_asked_for_leads_by_its_first_piece(
    query: str, shares: dict[Chunk, float]
) -> None:
    lifts = definitions([CLASS, FUNCTION, REST], understood(query), WEIGHTS)
    assert lifts == {chunk.id: pytest.approx(share * WEIGHTS.definition_boost) for chunk, share in shares.items()}


@pytest.mark.parametrize(
    ("query", "is_lifted"),
    [("pool.py:40", True), ("src/db/pool.py#L44", True), ("why does pool.py:41 fail", True), ("pool.py:50", False)],
)
def test_the_chunk_with_the_line_that_is_named_is_lifted(query: str, is_lifted: bool) -> None:
    chunk = make_chunk("src/db/pool.py", "x", start_line=38, end_line=44)
    other = make_chunk("src/db/tool.py", "x", start_line=38, end_line=44)
    told = told_by((chunk, 0.5), (other, 0.5))
    assert ("line_boost" in found(chunk, query, told)) == is_lifted
    assert "line_boost" not in found(other, query, told)


def test_the_file_that_is_named_is_lifted() -> None:
    assert found(POOL, "src/db/pool.py") == {"path_boost": WEIGHTS.path_boost}
    assert found(POOL, "src/db/cache.py") == {}


def told_by(*scored: tuple[Chunk, float]) -> Evidence:
    return evidence(scored)


def test_code_is_lifted_by_how_well_its_tests_fit() -> None:
    told = told_by((TEST, 0.8), (POOL, 0.5))
    assert found(POOL, "ending it all", told) == {"evidence_boost": pytest.approx(WEIGHTS.evidence_boost * 0.8)}
    assert found(TEST, "ending it all", told) == {}
    other = make_chunk("src/db/pool.py", "x", repository="r2")
    assert found(other, "ending it all", told_by((TEST, 0.8), (other, 0.5))) == {}


def test_a_file_of_which_several_chunks_fit_is_lifted_by_the_next_two() -> None:
    chunks: Sequence[Chunk] = [make_chunk("a.py", str(line), start_line=line) for line in range(1, 6)]
    told = evidence((chunk, 0.8) for chunk in chunks)
    assert told.coherence[("r1", "a.py")] == pytest.approx(0.8 * 0.5 + 0.8 * 0.25)
    assert found(chunks[0], "x y z", told) == {"coherence_boost": pytest.approx(WEIGHTS.coherence_boost * 0.6)}


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("src/v3/parse.ts", "how is a string parsed", WEIGHTS.deprecated_weight),
        ("src/v4/parse.ts", "how is a string parsed", 1.0),
        ("src/v3/parse.ts", "how does v3 parse a string", 1.0),
        ("src/v3/parse.ts", "strings in the deprecated code", 1.0),
        ("src/v3/parse.test.ts", "how is a string parsed", WEIGHTS.test_weight),
        ("other/v3/parse.ts", "how is a string parsed", 1.0),
        ("src/dev3/parse.ts", "how is a string parsed", 1.0),
    ],
)
def test_an_older_version_beside_a_later_one_stands_back_unless_it_is_asked_for(
    path: str, query: str, weight: float
) -> None:
    chunk, later = make_chunk(path, "x"), make_chunk("src/v4/core.ts", "y")
    elsewhere = make_chunk("other/v5/core.ts", "z", repository="r2")
    told = told_by((chunk, 0.5), (later, 0.4), (elsewhere, 0.3))
    assert file_weight(chunk, understood(query), WEIGHTS, told) == weight


def test_at_neutral_values_no_signal_says_anything() -> None:
    out = Weights().overridden(neutral())
    told = told_by((TEST, 0.8), (POOL, 0.5), (POOL, 0.4))
    asked: Understood = understood("where does src/db/pool.py define `Pool.close`")
    assert boosts(POOL, asked, out, file_boosts(POOL, asked, out, told), definitions([POOL], asked, out)) == {}
    assert all(class_weight(make_chunk(p, "x"), asked, out) == 1 for p in ("README.md", "test_a.py", "dist/a.js"))
