"""Tokens for the page: the text is never changed, whatever is in it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_app.web.highlight import MAX_HIGHLIGHTED_CHARS, highlight


def texts(code: str, language: str = "python", path: str = "a.py") -> list[str]:
    return ["".join(text for _, text in line) for line in highlight(code, language, path)]


def test_kinds_are_few_words_that_the_style_sheet_knows() -> None:
    line = highlight('def f(): return "a"  # b', "python", "")[0]
    assert line[0] == ("keyword", "def")
    assert ("function", "f") in line
    assert ("string", '"a"') in line
    assert line[-1] == ("comment", "# b")


@pytest.mark.parametrize("code", ["", "\n", "\n\nx = 1\n\n", "x = 1", '"""open', "\tx\n  y"])
def test_every_line_is_there_unchanged_blank_ones_too(code: str) -> None:
    assert texts(code) == code.split("\n")


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=200))
def test_joined_tokens_are_the_code(code: str) -> None:
    assert texts(code, "javascript") == code.split("\n")


def test_carriage_returns_neither_add_lines_nor_show() -> None:
    assert texts("a = 1\r\nb = 'x\ry'\r\n") == ["a = 1", "b = 'x y'", ""]


def test_the_path_decides_where_the_language_is_unknown() -> None:
    assert ("keyword", "fn") in highlight("fn main() {}", "no such language", "main.rs")[0]


def test_unknown_files_and_very_long_ones_stay_plain() -> None:
    assert highlight("def f", "", "notes.unknown") == [[("", "def f")]]
    long = "x = 1\n" * (MAX_HIGHLIGHTED_CHARS // 6 + 1)
    assert {kind for line in highlight(long, "python", "a.py") for kind, _ in line} == {""}
