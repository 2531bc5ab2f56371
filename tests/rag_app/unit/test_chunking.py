# ruff: noqa: E501  a table reads better with its rows on one line
"""Chunks of whole files. A word is a token here; the real tokenizer has a test of its own."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from rag_app.features.indexing.chunking.chunker import ParsedFile, Passage, chunk, parse
from rag_app.features.indexing.chunking.counting import TokenCounts
from rag_app.features.indexing.chunking.outline import MAX_DEPTH

HERE = Path(__file__).parents[3]


def count(text: str) -> int:
    return len(text.split())


def chunks_of(path: str, text: str, window: int = 100, newline_tokens: int = 0) -> list[Passage]:
    counts = TokenCounts(newline_tokens)
    file: ParsedFile = parse(path, text)
    texts = counts.unknown(file.countable())
    counts.learn(texts, [count(piece) for piece in texts])
    return chunk(file, counts, window)


def outline_of(path: str, text: str, window: int = 1_000) -> list[tuple[str, str, int, int]]:
    return [(p.kind, p.qualified_name, p.start_line, p.end_line) for p in chunks_of(path, text, window)]


def assert_whole(text: str, passages: list[Passage]) -> None:
    """Every line is shown once, in order, as it is in the file."""
    lines = text.removesuffix("\n").split("\n")
    assert [line for passage in passages for line in passage.text.split("\n")] == lines
    position = 1
    for passage in passages:
        assert passage.start_line == position
        assert passage.text.count("\n") == passage.end_line - passage.start_line
        position = passage.end_line + 1


PYTHON = '''"""Pools."""
import threading

LIMIT = 3


# A pool of things.
@final
class Pool:
    """Connections that are shared."""

    size = 3

    @property
    def free(self):
        """How many are free."""
        return 1

    class Inner:
        def close(self):
            pass


async def main(argument: int,
               other: str) -> None:
    def helper():
        return 2
    return helper()


if __name__ == "__main__":
    main()
'''


def test_python_is_cut_by_function_method_and_class() -> None:
    assert outline_of("pool.py", PYTHON) == [
        ("block", "", 1, 6),
        ("class", "Pool", 7, 13),
        ("method", "Pool.free", 14, 18),
        ("class", "Pool.Inner", 19, 19),
        ("method", "Pool.Inner.close", 20, 23),
        ("function", "main", 24, 28),
        ("block", "", 29, 32),
    ]
    assert_whole(PYTHON, chunks_of("pool.py", PYTHON))


def test_the_embedded_text_tells_where_the_code_stands() -> None:
    free = next(p for p in chunks_of("src/pool.py", PYTHON, 1_000) if p.symbol == "free")
    assert free.embedded.split("\n")[:4] == ["src/pool.py", "Pool.free", "def free(self):", "How many are free."]
    assert free.embedded.endswith(free.text)
    assert free.text.startswith("    @property")


def test_a_signature_over_several_lines_is_one() -> None:
    main = next(p for p in chunks_of("pool.py", PYTHON, 1_000) if p.symbol == "main")
    assert "async def main(argument: int, other: str) -> None:" in main.embedded.split("\n")[:3]


LANGUAGES = [
    ("a.js", "class A {\n  m() {\n    return 1\n  }\n}\nconst f = (a) => {\n  return a\n}\n", ["A", "A.m", "f"]),
    ("a.js", "exports.go = function () {\n  x()\n}\nexport default function main() {\n}\n", ["exports.go", "main"]),
    ("a.ts", "export interface I {\n  a: string\n}\nabstract class B {\n  x = () => {\n    y()\n  }\n}\n", ["I", "B", "B.x"]),
    ("a.tsx", "export const C = () => {\n  return <div/>\n}\n", ["C"]),
    ("A.java", "package a;\npublic class A {\n  @Override\n  int m() {\n    return 1;\n  }\n}\n", ["", "A", "A.m"]),
    ("a.go", "package a\n\nfunc (p *Pool) Take() int {\n\treturn 1\n}\n\ntype T struct {\n\ta int\n}\n", ["", "Pool.Take", "T"]),
    ("a.rs", "/// doc\nimpl<T> Show for Pool<T> {\n    fn take(&self) {\n        x()\n    }\n}\n", ["Pool", "Pool.take"]),
    ("a.c", "#include <x.h>\n\nstatic int *f(int a)\n{\n  return 0;\n}\nstruct S {\n  int a;\n};\n", ["", "f", "S"]),
    ("a.cc", "namespace n {\nclass A {\n  int m() {\n    return 1;\n  }\n};\n}\nint n::A::q() {\n}\n", ["n", "n.A", "n.A.m", "n.A.q"]),
    ("a.cs", "namespace N {\n  class A {\n    int M() {\n      return 1;\n    }\n  }\n}\n", ["N", "N.A", "N.A.M"]),
    ("a.rb", "module M\n  class A\n    def m\n      1\n    end\n  end\nend\n", ["M", "M.A", "M.A.m"]),
    ("a.php", "<?php\nclass A {\n  function m() {\n    return 1;\n  }\n}\n", ["", "A", "A.m"]),
    ("a.kt", "class A {\n  fun m(): Int {\n    return 1\n  }\n}\nfun f() {\n}\n", ["A", "A.m", "f"]),
    ("a.swift", "struct A {\n  func m() {\n    x()\n  }\n}\nextension B {\n  func n() {\n  }\n}\n", ["A", "A.m", "B", "B.n"]),
    ("a.scala", "object O {\n  def f(): Int = {\n    1\n  }\n}\n", ["O", "O.f"]),
    ("a.sh", "#!/bin/sh\nf() {\n  echo 1\n}\n", ["f"]),
    ("a.lua", "local M = {}\nfunction M.go()\n  x()\nend\nM.run = function()\n  y()\nend\n", ["", "M.go", "M.run"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "text", "names"), LANGUAGES, ids=[f"{path}-{names[-1]}" for path, _, names in LANGUAGES]
)
def test_each_grammar_names_what_is_defined(path: str, text: str, names: list[str]) -> None:
    passages = chunks_of(path, text, 1_000)
    assert [passage.qualified_name for passage in passages] == names
    assert_whole(text, passages)


@pytest.mark.parametrize(
    ("path", "first_line", "language"),
    [
        ("run", "#!/usr/bin/env python3.11", "python"),
        ("run", "#!/bin/bash -e", "bash"),
        ("run", "#!/opt/unknown", "text"),
        ("run", "", "text"),
        ("Makefile", "", "make"),
        ("deploy/Dockerfile", "", "dockerfile"),
        ("A.PY", "", "python"),
        ("x.h", "#!/bin/sh", "c"),
    ],
)
def test_a_language_is_known_by_name_else_by_its_first_line(path: str, first_line: str, language: str) -> None:
    assert parse(path, f"{first_line}\nx\n").language == language


def test_comments_and_decorators_belong_to_what_they_stand_above() -> None:
    text = "int x; // not of f\n\n// The f.\n// More.\nint f() {\n  return 1;\n}\n"
    assert outline_of("a.c", text) == [("block", "", 1, 2), ("function", "f", 3, 7)]
    assert "The f." in chunks_of("a.c", text)[1].embedded.split("\n")[:4]
    remark = "int x; // of x\nint f() {\n  return 1;\n}\n"
    assert outline_of("a.c", remark) == [("block", "", 1, 1), ("function", "f", 2, 4)]


def test_a_syntax_error_costs_no_line() -> None:
    text = "def good():\n    return 1\n\ndef broken(:\n    ((((\n\nclass Fine:\n    x = 1\n"
    passages = chunks_of("a.py", text)
    assert passages[0].symbol == "good"
    assert_whole(text, passages)


def test_two_definitions_on_one_line_are_the_firsts() -> None:
    text = "class A { int a() { return 1; } int b() { return 2; } } class B { }\n"
    assert outline_of("A.java", text) == [("class", "A", 1, 1)]


def test_a_long_function_is_cut_between_statements_and_each_piece_says_whose_it_is() -> None:
    body = "".join(f"    if flag_{n}:\n        do = one + {n}\n        do = two + {n}\n" for n in range(20))
    text = f"def long(a):\n    '''Does much.'''\n{body}"
    passages = chunks_of("a.py", text, 50)
    assert_whole(text, passages)
    assert len(passages) > 4
    for passage in passages[1:]:
        assert passage.text.startswith("    if flag_")
        assert passage.embedded.split("\n")[:4] == ["a.py", "long", "def long(a):", "Does much."]
        assert (passage.kind, passage.symbol) == ("function", "long")
    sizes = [count(passage.text) for passage in passages]
    assert min(sizes) * 3 > max(sizes)


def test_a_function_too_long_for_the_window_is_cut_at_the_functions_in_it() -> None:
    inner = "".join(f"    def inner_{n}():\n        return a b c d e f g {n}\n\n" for n in range(8))
    text = f"def outer():\n{inner}    return 1\n"
    names = {passage.qualified_name for passage in chunks_of("a.py", text, 60)}
    assert {"outer", "outer.inner_0", "outer.inner_7"} <= names
    assert_whole(text, chunks_of("a.py", text, 60))


def test_an_overlong_line_is_shown_whole_and_embedded_as_far_as_the_window_goes() -> None:
    line = "x = [" + ", ".join(str(n) for n in range(3_000)) + "]"
    text = f"a = 1\n{line}\nb = 2\n"
    passages = chunks_of("a.py", text, 50)
    assert_whole(text, passages)
    whole = next(passage for passage in passages if passage.text == line)
    assert (whole.start_line, whole.end_line) == (2, 2)
    assert 20 < count(whole.embedded) <= 48


def test_a_long_path_and_signature_leave_room_for_the_code() -> None:
    text = "def f(" + ", ".join(f"arg{n}: int" for n in range(60)) + "):\n    return 1\n"
    passages = chunks_of("/".join(["deep folder"] * 30) + "/a.py", text, 40)
    assert_whole(text, passages)
    assert all(count(passage.embedded) <= 38 for passage in passages)


def test_carriage_returns_are_shown_and_not_embedded() -> None:
    text = "def f():\r\n    return 1\r\n"
    (passage,) = chunks_of("a.py", text)
    assert passage.text == "def f():\r\n    return 1\r"
    assert "\r" not in passage.embedded


@pytest.mark.parametrize("text", ["", "\n", "  \n\n\t\n"])
def test_a_file_without_words_has_no_chunks(text: str) -> None:
    assert chunks_of("a.py", text) == []


def test_a_file_of_marks_alone_is_one_chunk() -> None:
    assert outline_of("a.py", "---\n\n***\n") == [("block", "", 1, 3)]


MARKDOWN = """Before any heading, some words.

# Guide

Words about the guide, long enough to stand alone: {filler}

## Install

```
# not a heading
```
Words {filler}

Underlined
----------

Words {filler}
""".replace("{filler}", "word " * 40)


def test_markdown_is_cut_by_its_headings() -> None:
    assert outline_of("README.md", MARKDOWN) == [
        ("block", "", 1, 2),
        ("section", "Guide", 3, 6),
        ("section", "Guide > Install", 7, 13),
        ("section", "Guide > Underlined", 14, 17),
    ]
    assert_whole(MARKDOWN, chunks_of("README.md", MARKDOWN))
    install = chunks_of("README.md", MARKDOWN)[2]
    assert install.embedded.split("\n")[:2] == ["README.md", "Guide > Install"]


def test_small_sections_stay_together() -> None:
    text = "# A\n\nfew words\n\n## B\n\nfew words\n\n## C\n\n- list\n---\nrule\n"
    assert outline_of("a.md", text) == [("section", "A", 1, 13)]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("notes.txt", "text"), ("a.hs", "text"), ("a.proto", "text"), ("conf.yaml", "text"), ("a.html", "text")],
)
def test_what_has_no_grammar_is_split_at_line_ends(path: str, kind: str) -> None:
    text = "".join(f"{'  ' * (n % 3)}word{n} = some more words\n" + ("\n" if n % 7 == 0 else "") for n in range(60))
    passages = chunks_of(path, text, 40)
    assert_whole(text, passages)
    assert len(passages) > 5
    assert {passage.kind for passage in passages} == {kind}
    assert all(count(passage.embedded) <= 38 for passage in passages)


def test_plain_text_is_split_at_blank_lines_where_it_can_be() -> None:
    text = "\n\n".join("\n".join(f"p{paragraph} l{line} x y z" for line in range(4)) for paragraph in range(6))
    starts = [passage.text.lstrip("\n").split("\n")[0] for passage in chunks_of("a.txt", text, 30)]
    assert starts == [f"p{paragraph} l0 x y z" for paragraph in range(6)]


def test_a_blank_line_at_a_cut_is_neither_lost_nor_doubled() -> None:
    lines = ["a b c d e", "", "f g h i j", "  ", "", "k l m n o", "", "", "p q r s t"] * 9
    for window in range(12, 40):
        text = "\n".join(lines)
        assert_whole(text, chunks_of("a.css", text, window))


def test_code_nested_beyond_reason_is_chunked_all_the_same() -> None:
    text = "\n".join(f"{' ' * depth}class C{depth}:" for depth in range(3_000)) + f"\n{' ' * 3_000}x = 1\n"
    passages = chunks_of("deep.py", text)
    assert_whole(text, passages)
    assert passages[-1].qualified_name.count(".") == MAX_DEPTH - 1
    one_line = "function f(){" * 5_000 + "}" * 5_000
    assert [p.symbol for p in chunks_of("a.js", one_line)] == ["f"]


_LINE = st.one_of(
    st.sampled_from(
        ["", "  ", "}", "def f():", "class A:", "    def m(self):", "        return 1", "# c", "```", "# H", "## H2", "===",
         "function f() {", "  x = 1;", "'''", '"""', "\t\ttabbed", "@dec", "a b c d e f g h i j k l m n o p q r s t u v"]
    ),
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=60),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(_LINE, min_size=1, max_size=60),
    path=st.sampled_from(["a.py", "a.js", "a.md", "a.txt", "a.rs", "a.rst", "a.c"]),
    window=st.integers(12, 80),
    newline_tokens=st.integers(0, 1),
)
def test_every_line_is_in_one_chunk_and_no_chunk_is_over_the_window(
    lines: list[str], path: str, window: int, newline_tokens: int
) -> None:
    text = "\n".join(lines)
    passages = chunks_of(path, text, window, newline_tokens)
    if not text.strip():
        assert passages == []
        return
    assert_whole(text, passages)
    for passage in passages:
        assert count(passage.embedded) + newline_tokens * passage.embedded.count("\n") <= window - 2


@pytest.mark.parametrize("folder", ["rag_app", "tests/rag_app/unit", "service_kit"])
def test_every_line_of_real_code_is_in_one_chunk(folder: str) -> None:
    files = [path for path in (HERE / folder).rglob("*") if path.suffix in (".py", ".js", ".css", ".html", ".md")]
    assert len(files) > 3
    for path in files:
        text = path.read_text()
        if text.strip():
            assert_whole(text, chunks_of(path.name, text, 120))
