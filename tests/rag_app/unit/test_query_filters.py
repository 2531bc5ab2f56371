"""Filters in a query: what is taken out of it, what stays, and how they hold with a request's own. Tables."""

import pytest

from rag_app.core.languages import LANGUAGES
from rag_app.core.models import Filters
from rag_app.features.search.languages import ALIASES
from rag_app.features.search.query import MAX_TYPED, PathFilter, joined, named_scope, path_filter, within
from rag_app.features.search.understanding import QueryKind, understood
from service_kit.errors import NotFound, ValidationFailed

FILTERED = [
    ("retry lang:go", "retry", Filters(languages=("go",))),
    ("lang:go retry", "retry", Filters(languages=("go",))),
    ("how is lang:go it retried", "how is it retried", Filters(languages=("go",))),
    ("retry lang:go lang:rust lang:go", "retry", Filters(languages=("go", "rust"))),
    ("retry language:Python", "retry", Filters(languages=("python",))),
    ("retry lang:c++", "retry", Filters(languages=("cpp",))),
    ("retry lang:C#", "retry", Filters(languages=("csharp",))),
    ("retry lang:ts", "retry", Filters(languages=("typescript", "tsx"))),
    ("retry lang:tsx", "retry", Filters(languages=("tsx",))),
    ("retry lang:golang, please", "retry please", Filters(languages=("go",))),
    ("retry lang:klingon", "retry", Filters(languages=("klingon",))),
    ('retry lang:"go"', "retry", Filters(languages=("go",))),
    ("retry path:src/**/*.py", "retry", Filters(paths=("src/**/*.py",))),
    ("retry path:./src/", "retry", Filters(paths=("src/",))),
    ("retry file:app.py", "retry", Filters(paths=("app.py",))),
    ('retry path:"a b/c"', "retry", Filters(paths=("a b/c",))),
    ("retry path:src\\pool\\close.cs", "retry", Filters(paths=("src/pool/close.cs",))),
    ("retry file:app.py:120", "retry", Filters(paths=("app.py",))),
    ("crash at file:src/foo/bar.go:88: nil", "crash at nil", Filters(paths=("src/foo/bar.go",))),
    ("retry path:src/app.py:12-30", "retry", Filters(paths=("src/app.py",))),
    ("retry path:src/app.py#L12-L30", "retry", Filters(paths=("src/app.py",))),
    ('retry path:"line"', "retry", Filters(paths=("line",))),
    ("retry path:line/", "retry", Filters(paths=("line/",))),
    ("retry path:linear", "retry", Filters(paths=("linear",))),
    ("retry path:src path:lib", "retry", Filters(paths=("src", "lib"))),
    ("retry repo:flask", "retry", Filters(repositories=("flask",))),
    ('retry repo:"my repo" repo:Flask', "retry", Filters(repositories=("my repo", "Flask"))),
    ("retry symbol:Pool.close", "retry", Filters(symbols=("pool.close",))),
    ("retry symbol:Pool::close()", "retry", Filters(symbols=("pool.close",))),
    ("retry symbol:$this->close", "retry", Filters(symbols=("close",))),
    (
        "lang:go path:src repo:x symbol:Y where",
        "where",
        Filters(languages=("go",), paths=("src",), repositories=("x",), symbols=("y",)),
    ),
    ("first line\nlang:go second", "first line\nsecond", Filters(languages=("go",))),
]

WORDS = [
    # In quotes: the quotes fall away.
    ('"lang:go" retry', "lang:go retry"),
    ('retry "in lang:go here"', "retry in lang:go here"),
    ('"lang:go retry"', "lang:go retry"),
    ('"connection refused"', "connection refused"),
    # Quotes that hide no filter stay.
    ('say "hello" twice', 'say "hello" twice'),
    ('print("a", "b c")', 'print("a", "b c")'),
    # No filter.
    ("std::vector lang", "std::vector lang"),
    ("http://x.org/lang:go", "http://x.org/lang:go"),
    ("foo:bar", "foo:bar"),
    ("lang: go", "lang: go"),
    ("path:", "path:"),
    # How a place is written, and no place.
    ("where is file:line parsed", "where is file:line parsed"),
    ("hits are printed as path:line:text, one a line", "hits are printed as path:line:text, one a line"),
    ("jump to file:line_number", "jump to file:line_number"),
    ("the file:line:column of a warning.", "the file:line:column of a warning."),
    ('lang:"" go', 'lang:"" go'),
    ("Lang:go LANG:go", "Lang:go LANG:go"),
    ("-lang:go", "-lang:go"),
    ("slang:go", "slang:go"),
    ("(lang:go)", "(lang:go)"),
    ("file:///home/x", "file:///home/x"),
    ("path::join", "path::join"),
    ("symbol::x", "symbol::x"),
    ("symbol:a+b", "symbol:a+b"),
    ('path:"a', 'path:"a'),
    ('{ path:"/a", lang:"go"}', '{ path:"/a", lang:"go"}'),
    ("repo:// x", "repo:// x"),
    ("lang:, x", "lang:, x"),
    ('" "', '" "'),
]

ONLY = [
    ("symbol:Pool.close", "pool.close", QueryKind.SYMBOL, ("pool.close",)),
    ("symbol:close lang:go", "close", QueryKind.SYMBOL, ("close",)),
    ("path:src/app.py", "app", QueryKind.PATH, ()),
    ("path:src/pool/", "pool", QueryKind.PATH, ()),
    ("path:test_*.py", "test_", QueryKind.PATH, ()),
    ("path:**/*.py", "**/*.py", QueryKind.PATH, ()),
    ("repo:flask lang:py", "flask python", QueryKind.WORDS, ()),
    ("lang:go", "go", QueryKind.WORDS, ()),
]


@pytest.mark.parametrize(("text", "rest", "filters"), FILTERED)
def test_filters_are_taken_out_of_a_query(text: str, rest: str, filters: Filters) -> None:
    read = understood(text)
    assert (read.text, read.filters) == (rest, filters)


@pytest.mark.parametrize(("text", "rest"), WORDS)
def test_what_is_no_filter_is_words(text: str, rest: str) -> None:
    read = understood(text)
    assert (read.text, read.filters) == (rest, Filters())


@pytest.mark.parametrize(("text", "searched", "kind", "names"), ONLY)
def test_a_query_of_filters_alone_searches_for_what_they_say(
    text: str, searched: str, kind: QueryKind, names: tuple[str, ...]
) -> None:
    read = understood(text)
    assert (read.text, read.kind, read.names) == (searched, kind, names)


@pytest.mark.parametrize(
    ("asked", "typed", "both"),
    [
        (Filters(), Filters(), Filters()),
        (Filters(languages=("Go",)), Filters(), Filters(languages=("go",))),
        (Filters(languages=("C++", "js", "cpp")), Filters(), Filters(languages=("cpp", "javascript"))),
        (Filters(languages=("ts",)), Filters(), Filters(languages=("typescript", "tsx"))),
        (Filters(languages=("TypeScript",)), Filters(), Filters(languages=("typescript",))),
        (Filters(languages=("ts",)), Filters(languages=("tsx",)), Filters(languages=("tsx",))),
        (Filters(), Filters(languages=("go",)), Filters(languages=("go",))),
        (Filters(languages=("Go", "C")), Filters(languages=("go", "rust")), Filters(languages=("go",))),
        (Filters(languages=("c",)), Filters(languages=("go",)), None),
        # As a typed one is read, and as it is: in some languages a sign is part of the name that the index keeps.
        (Filters(symbols=("Pool::close",)), Filters(), Filters(symbols=("pool.close", "pool::close"))),
        (Filters(symbols=("Pool#close()",)), Filters(symbols=("close",)), Filters(symbols=("pool.close",))),
        (Filters(symbols=("save!", "$scope")), Filters(), Filters(symbols=("save", "save!", "scope", "$scope"))),
        (Filters(symbols=("save!",)), Filters(symbols=("save",)), Filters(symbols=("save",))),
        (Filters(symbols=("operator+", "")), Filters(), Filters(symbols=("operator+", ""))),
        (Filters(symbols=("Close",)), Filters(symbols=("pool.close",)), Filters(symbols=("pool.close",))),
        (Filters(symbols=("Pool.close", "x")), Filters(symbols=("close",)), Filters(symbols=("pool.close",))),
        (Filters(symbols=("close",)), Filters(symbols=("disclose",)), None),
        (Filters(paths=("a",)), Filters(paths=("b",)), Filters(paths=("a", "b"))),
        (Filters(), Filters(repositories=("x",)), Filters(repositories=("x",))),
    ],
)
def test_filters_of_the_request_and_of_its_query_both_hold(
    asked: Filters, typed: Filters, both: Filters | None
) -> None:
    assert joined(asked, typed) == both


def test_a_language_that_no_file_is_in_is_refused_with_those_that_there_are() -> None:
    for asked, typed in ((("pyhton",), ()), ((), ("pyhton",))):
        with pytest.raises(ValidationFailed, match=r"no language is called 'pyhton'; there are .* python, ") as refused:
            joined(Filters(languages=asked), Filters(languages=typed))
        assert '"lang:pyhton" in double quotes is words' in refused.value.message


def test_what_people_call_a_language_is_one_that_files_are_indexed_in() -> None:
    assert all(set(of) <= LANGUAGES for of in ALIASES.values())


@pytest.mark.parametrize(("key", "field"), [("path", "paths"), ("symbol", "symbols")])
def test_more_filters_than_a_request_may_list_are_refused(key: str, field: str) -> None:
    many = tuple(f"x{n}" for n in range(MAX_TYPED + 1))
    assert joined(Filters(), Filters(**{field: many[:-1]})) is not None
    with pytest.raises(ValidationFailed, match=f"{MAX_TYPED + 1} different {key}: filters"):
        joined(Filters(), Filters(**{field: many}))


def test_two_path_filters_take_what_both_take() -> None:
    everything = path_filter([])
    assert within(everything, path_filter(["src"])) == path_filter(["src"]) == within(path_filter(["src"]), everything)
    assert within(path_filter(["src", "docs"]), path_filter(["src/a", "x"])) == path_filter(["src/a"])
    assert within(path_filter(["src/a", "x"]), path_filter(["src", "docs"])) == path_filter(["src/a"])
    assert within(path_filter(["src"]), path_filter(["docs"])) is None
    assert within(path_filter(["src"]), path_filter(["src2"])) is None
    both = within(path_filter(["src", "*.md"]), path_filter(["**/pool*"]))
    assert isinstance(both, PathFilter)
    assert both.has_globs
    paths = ("src/pool.py", "lib/pool.md", "lib/pool.py", "src/a.py")
    assert [path for path in paths if both.matches(path)] == ["src/pool.py", "lib/pool.md"]


def test_repositories_are_named_by_id_or_name_in_any_case_and_only_within_the_scope() -> None:
    scope, ids = frozenset({"1", "2"}), {"Flask": "1", "flask": "2"}
    assert named_scope(scope, ids, ["1"]) == {"1"}
    assert named_scope(scope, ids, ["Flask"]) == {"1"}
    assert named_scope(scope, ids, ["flask", "1"]) == {"1", "2"}
    assert named_scope(scope, {"Flask": "1"}, ["FLASK"]) == {"1"}
    for unknown in ("3", "django"):
        with pytest.raises(NotFound, match=f"no repository '{unknown}'"):
            named_scope(scope, ids, ["1", unknown])
