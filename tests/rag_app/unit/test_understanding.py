"""What a query is understood as. The tables are the definition: a line for each way in which people write."""

import time

import pytest

from rag_app.core.models import Filters
from rag_app.features.search.understanding import QueryKind, understood
from tests.support.query_examples import (
    CHAINED,
    CLASSES,
    CODE,
    CSHARP,
    ERRORS,
    GO,
    NODE,
    PATHS,
    RUBY,
    RUST,
    SYMBOLS,
    TRACEBACK,
    WORDS,
)


@pytest.mark.parametrize(("text", "classes"), CLASSES)
def test_classes_of_files_are_asked_for_by_their_words(text: str, classes: set[str]) -> None:
    assert understood(text).classes == classes


@pytest.mark.parametrize(("text", "name", "kind"), SYMBOLS)
def test_a_name_is_a_symbol(text: str, name: str, kind: str) -> None:
    read = understood(text)
    assert (read.kind, read.names, read.wanted_kind) == (QueryKind.SYMBOL, (name,), kind)
    assert read.text == text.strip()


@pytest.mark.parametrize(("text", "paths"), PATHS)
def test_a_path_is_a_path(text: str, paths: tuple[str, ...]) -> None:
    read = understood(text)
    assert (read.kind, read.paths) == (QueryKind.PATH, paths)


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_an_error_or_a_log_line_is_an_error_and_says_its_message(text: str, message: str) -> None:
    read = understood(text)
    assert (read.kind, read.message) == (QueryKind.ERROR, message)
    assert read.classes == frozenset()


@pytest.mark.parametrize(
    ("text", "names", "paths"),
    [
        (
            TRACEBACK,
            ("run", "close", "pool.close", "poolerror", "app.errors.poolerror"),
            ("srv/app/main.py", "srv/app/pool.py"),
        ),
        (CHAINED, ("f", "g", "keyerror", "runtimeerror"), ("a.py",)),
        (NODE, ("pool.take",), ("srv/app/pool.js", "srv/app/index.js")),
        (GO, ("main.main",), ("tmp/main.go",)),
        (RUST, ("rust_backtrace",), ("src/main.rs",)),
        (CSHARP, ("shop.cart.add",), ("src/Cart.cs",)),
        (RUBY, ("total",), ("app.rb",)),
        ("TypeError: x is not a function at foo (a.js:3:4)", ("foo", "typeerror"), ("a.js",)),
        ("main.c:3:5: error: unknown type name 'foo'", (), ("main.c",)),
    ],
)
def test_an_error_names_the_functions_and_files_of_its_stack(
    text: str, names: tuple[str, ...], paths: tuple[str, ...]
) -> None:
    read = understood(text)
    assert set(names) <= set(read.names)
    assert read.paths == paths


@pytest.mark.parametrize(("text", "name", "kind"), CODE)
def test_a_line_of_code_is_code(text: str, name: str, kind: str) -> None:
    read = understood(text)
    assert (read.kind, read.wanted_kind) == (QueryKind.CODE, kind)
    assert name in ("", *read.names)


@pytest.mark.parametrize(("text", "names", "kind", "paths"), WORDS)
def test_words_are_words_whatever_they_speak_of(
    text: str, names: tuple[str, ...], kind: str, paths: tuple[str, ...]
) -> None:
    read = understood(text)
    assert (read.kind, read.names, read.wanted_kind, read.paths) == (QueryKind.WORDS, names, kind, paths)


@pytest.mark.parametrize("text", [text for text, *_ in [*SYMBOLS, *PATHS, *ERRORS, *CODE, *WORDS]])
def test_without_filters_all_of_a_query_is_searched(text: str) -> None:
    read = understood(text)
    assert read.text in (text.strip(), text.strip('"'))
    assert read.filters == Filters()


# An honest question of three lines, and texts that make a careless pattern try again and again.
QUESTION = (
    "how does the connection pool of the HTTP client decide which connection is reused when several requests to one "
    "host wait, and where are the idle ones closed after the timeout that settings.idle_timeout_s gives in "
    "src/pool/idle.py; does Pool.close() wait for those which are still used by streams of HTTP/2 or not"
)
HOSTILE = [
    *(
        "a",
        "a.",
        "a::",
        "a_",
        "a(",
        "(",
        "f(a(b)",
        "[",
        "<",
        "<a ",
        "a<b,",
        '"',
        ' "a',
        "`",
        "`a",
        "'",
        "/",
        "a/",
        "\\",
        "$",
        "#",
    ),
    *(
        " ",
        "\n",
        "\t\n",
        "1:",
        "a-",
        ".py",
        "가",
        "Error",
        "Error: ",
        "at a(",
        " at x:1",
        " in x",
        'File "',
        'msg="\\',
        "[Errno 1] ",
    ),
    *(
        "path:",
        "path:a ",
        '"path:a" ',
        "class ",
        "the class of ",
        "SELECT a ",
        "import {",
        "if (",
        "if x[ ",
        "for x in (\n",
    ),
    *("public ", "expected ", "cannot open ", "out of range ", "Caused by: ", "2024-01-02 03:04:05 ", "[a] ", "A::B: "),
]


def cpu_s(text: str) -> float:
    """The best of five, in CPU seconds."""
    took = []
    for _ in range(5):
        started = time.process_time()
        understood(text)
        took.append(time.process_time() - started)
    return min(took)


def test_a_question_is_understood_in_a_fraction_of_a_millisecond() -> None:
    understood(QUESTION)
    assert cpu_s(QUESTION) < 0.001  # measured .0001


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_makes_understanding_slow(piece: str) -> None:
    text = "x" + piece * (20_000 // len(piece)) + "y"
    assert cpu_s(text) < 0.15  # measured at most .012
