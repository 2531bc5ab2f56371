"""What a search asks for: text, names, globs, path classes, relevance. Tables."""

import re

import pytest

from rag_app.core.bm25 import term_weights
from rag_app.core.models import Filters, Hit, SearchQuery
from rag_app.core.settings import RagSettings
from rag_app.core.tokens import term_id
from rag_app.db.records import RefState
from rag_app.features.search.query import (
    MAX_EXACT_PATHS,
    PathFilter,
    checked_limit,
    narrowed_scope,
    path_filter,
    selection_of,
)
from rag_app.features.search.relevance import RELEVANT_BOTH, RELEVANT_COVERAGE, coverage, is_relevant
from service_kit.errors import NotFound, ValidationFailed
from tests.support.chunks import make_chunk

SETTINGS = RagSettings(_env_file=None)


@pytest.mark.parametrize("limit", [0, -1, 101, 10_000])
def test_a_limit_out_of_bounds_names_itself_and_the_bounds(limit: int) -> None:
    with pytest.raises(ValidationFailed, match=f"limit is {limit}; it may be 1 to 100"):
        checked_limit(SearchQuery("x", limit=limit), SETTINGS)
    assert checked_limit(SearchQuery("x", limit=100), SETTINGS).limit == 100


def test_a_scope_is_narrowed_to_what_is_asked_and_never_widened() -> None:
    scope = frozenset({"a", "b"})
    assert narrowed_scope(scope, None) == scope
    assert narrowed_scope(scope, ["b"]) == {"b"}
    assert narrowed_scope(scope, []) == frozenset()
    with pytest.raises(NotFound, match="'c'"):
        narrowed_scope(scope, ["a", "c"])


@pytest.mark.parametrize(
    ("filters", "path", "taken"),
    [
        ((), "a.py", True),
        (("src",), "src/a.py", True),
        (("src/",), "src/x/a.py", True),
        (("./src",), "src/a.py", True),
        (("/src/",), "src/a.py", True),
        (("src",), "src2/a.py", False),
        (("src/a.py",), "src/a.py", True),
        (("src/a.py",), "src/a.pyi", False),
        (("/",), "anything", True),
        ((".",), "anything", True),
        (("./.",), "anything", True),
        ((".github",), ".github/ci.yml", True),
        (("*.py",), "deep/down/a.py", True),
        (("*.py",), "a.pyx", False),
        (("src/*.py",), "src/a.py", True),
        (("src/*.py",), "src/x/a.py", False),
        (("src/**",), "src/x/a.py", True),
        (("src/**/*.py",), "src/a.py", True),
        (("src/**/*.py",), "src/x/y/a.py", True),
        (("**/test_*.py",), "test_a.py", True),
        (("**/test_*.py",), "x/test_a.py", True),
        (("**/test_*.py",), "x/my_test_a.py", False),
        (("**/tests/**",), "a/tests/b/c.py", True),
        (("s?c/a.py",), "src/a.py", True),
        (("s?c/a.py",), "s/c/a.py", False),
        (("[ab].py",), "x/b.py", True),
        (("[!ab].py",), "b.py", False),
        (("[!ab].py",), "c.py", True),
        (("src/*/",), "src/x/deep/a.py", True),
        (("a+b*.py",), "a+b1.py", True),
        (("docs", "*.go"), "x/main.go", True),
        (("docs", "*.go"), "x/main.rs", False),
        # A file is each whose path ends so.
        (("sessions.py",), "sessions.py", True),
        (("sessions.py",), "src/requests/sessions.py", True),
        (("sessions.py",), "src/my_sessions.py", False),
        (("sessions.py",), "src/sessions.pyi", False),
        (("requests/sessions.py",), "src/requests/sessions.py", True),
        (("requests/sessions.py",), "src/sessions.py", False),
        (("requests/sessions.py",), "src/myrequests/sessions.py", False),
        (("/sessions.py",), "src/sessions.py", False),
        (("./sessions.py",), "sessions.py", True),
        (("Makefile",), "deploy/Makefile", True),
        (("sessions.py/",), "src/sessions.py", False),
        # A folder is one of the root, though it has a dot in its name.
        (("Shop.Core",), "Shop.Core/a.cs", True),
        (("v1.2",), "v1.2/a.go", True),
        (("requests",), "src/requests/sessions.py", False),
        (("src",), "lib/src/a.py", False),
    ],
)
def test_path_filters(filters: tuple[str, ...], path: str, taken: bool) -> None:
    assert path_filter(filters).matches(path) is taken


def test_an_unclosed_bracket_in_a_glob_is_a_character() -> None:
    assert path_filter(["a[*"]).matches("x/a[b")


@pytest.mark.parametrize("glob", ["[z-a]*", "src/[a--b].py"])
def test_a_glob_that_cannot_be_read_is_refused_and_named(glob: str) -> None:
    with pytest.raises(ValidationFailed, match=re.escape(repr(glob))):
        path_filter(["src", glob])


STATES = [RefState("r1", "main", "base", "c1", "ready"), RefState("r2", "main", "base", "c2", "ready")]


def test_a_selection_names_the_repositories_and_layers_of_the_refs() -> None:
    filters = Filters(languages=("Python",), symbols=("Pool",))
    selection = selection_of(filters, STATES, PathFilter((), ()), [])
    assert selection is not None
    assert selection.repositories == {"r1", "r2"}
    assert selection.layers == {"base"}
    assert (selection.languages, selection.names) == (("python",), ("Pool",))


def test_a_glob_becomes_the_paths_that_it_matches() -> None:
    paths = path_filter(["src", "*.go"])
    selection = selection_of(Filters(), STATES, paths, ["x/a.go"])
    assert selection is not None
    assert (selection.paths, selection.folders) == (("src", "x/a.go"), ("src/",))


def test_a_file_is_asked_for_by_the_paths_that_end_so() -> None:
    paths = path_filter(["sessions.py"])
    assert paths.has_globs
    selection = selection_of(Filters(), STATES, paths, ["src/requests/sessions.py"])
    assert selection is not None
    assert "src/requests/sessions.py" in selection.paths


def test_a_glob_that_matches_nothing_has_no_selection() -> None:
    assert selection_of(Filters(), STATES, path_filter(["*.go"]), []) is None


def test_a_glob_that_matches_too_much_becomes_its_folder_or_everything() -> None:
    many = [f"src/{i}.py" for i in range(MAX_EXACT_PATHS + 1)]
    narrowed = selection_of(Filters(), STATES, path_filter(["src/**/*.py"]), many)
    assert narrowed is not None
    assert (narrowed.paths, narrowed.folders) == ((), ("src/",))
    everything = selection_of(Filters(), STATES, path_filter(["docs", "*.py"]), many)
    assert everything is not None
    assert (everything.paths, everything.folders) == ((), ())


CHUNK = make_chunk("src/pool.py", "def close(self): self.lock.release()", symbol="close")


def test_coverage_is_the_share_of_what_the_query_weighs() -> None:
    frequencies = {term_id("lock"): 10, term_id("pool"): 10}
    weights = term_weights("lock pool", frequencies, 100)
    assert coverage(CHUNK, weights) == pytest.approx(1.0)
    assert coverage(CHUNK, term_weights("lock pancake", frequencies, 100)) < 0.5
    assert coverage(CHUNK, term_weights("pancake", frequencies, 100)) == 0
    assert coverage(CHUNK, {}) == 0


@pytest.mark.parametrize(
    ("scores", "relevant"),
    [
        ({"dense": RELEVANT_BOTH, "sparse_share": 0.0}, True),
        ({"dense": 0.05, "sparse_share": 0.6}, False),
        ({"dense": 0.07, "sparse_share": 0.6}, True),
        ({"dense": RELEVANT_BOTH - 0.01, "sparse_share": 0.0}, False),
        ({"sparse_share": RELEVANT_COVERAGE}, True),
        ({"sparse_share": RELEVANT_COVERAGE - 0.01}, False),
        ({"name": 0.4, "sparse_share": 0.0}, True),
        ({"verbatim": 0.6, "dense": 0.1, "sparse_share": 0.1}, True),
        ({"verbatim": 0.4, "dense": 0.1, "sparse_share": 0.1}, False),
        ({}, False),
    ],
)
def test_relevance(scores: dict[str, float], relevant: bool) -> None:
    assert is_relevant(Hit(CHUNK, "main", "c1", 0.5, scores)) is relevant
