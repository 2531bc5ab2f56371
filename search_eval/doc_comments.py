"""Functions and what their documentation says of them: the first paragraph asks, the function answers.

An index holds the documentation, in which such a question stands word for word: it is worth something only where the
documentation is taken out of what is searched. `without` does that, line for line.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from search_eval.golden import Gold, Question
from search_eval.messages import unfiltered
from search_eval.source_paths import is_source

# Fewer words ("Return it.") ask for many functions.
FEWEST_WORDS = 6

CATEGORY = "doc comment, taken out of what is searched"

_WORD = re.compile(r"[^\W\d_]{2,}")
# No Rust attribute (#[), and nothing that a preprocessor is told (#if; a comment has a blank there).
_LINE_COMMENT = re.compile(
    r"^\s*(?:///?|//!|#(?!!|\[|(?:include|import|define|undef|if|ifn?def|elif|else|endif|pragma|error|warning|line|region"
    r"|endregion|nullable)\b))\s?(.*)$"
)
_BLOCK_BEGIN = re.compile(r"^\s*/\*\*?(.*)$")
_DEFINITION = re.compile(
    r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:pub(?:\([^)]*\))?|public|private|protected|internal|static|final|abstract|override|"
    r"export|default|async|virtual|inline|constexpr|unsafe|open|suspend)\s+)*"
    r"(?:(?:func(?:tion)?\*?|fn|fun|def)\s+(?:\([^)]*\)\s*)?(?P<named>[A-Za-z_]\w*)"
    r"|(?!return\b|if\b|for\b|while\b|switch\b|else\b|new\b)(?:[\w<>\[\],.&*?:]+\s+)+(?P<typed>[A-Za-z_]\w*)\s*\([^;]*$)"
)
_NO_DOC = re.compile(r"copyright|licen[cs]e|todo|fixme|eslint|nolint|noqa|type:|deprecated|@inheritdoc", re.I)


@dataclass(frozen=True, slots=True)
class Documented:
    """A function with its documentation. line: where its definition begins; first, last: the documentation's lines.

    Lines count from 1. text: the first paragraph, on one line.
    """

    name: str
    line: int
    first: int
    last: int
    text: str


def documented(path: str, text: str) -> list[Documented]:
    """The documented functions of a file: docstrings in Python, else comments right above a definition."""
    if path.endswith((".py", ".pyi")):
        return list(_docstrings(text))
    return list(_comments(text.split("\n")))


def _docstrings(text: str) -> Iterator[Documented]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not ast.get_docstring(node):
            continue
        doc = node.body[0]
        # A body that is nothing but its docstring would be no code without it.
        if doc.end_lineno is not None and len(node.body) > 1 and doc.lineno > node.lineno:
            yield Documented(
                node.name, node.lineno, doc.lineno, doc.end_lineno, _paragraph(ast.get_docstring(node) or "")
            )


def _comments(lines: list[str]) -> Iterator[Documented]:
    for number, line in enumerate(lines, 1):
        match = _DEFINITION.match(line)
        if match is None or number == 1:
            continue
        first, words = _above(lines, number - 1)
        if words:
            name = match["named"] or match["typed"]
            yield Documented(name, number, first, number - 1, _paragraph("\n".join(words)))


def _above(lines: list[str], end: int) -> tuple[int, list[str]]:
    """(first line, its words) of the comment whose last line is number `end`; no words where there is none."""
    if lines[end - 1].rstrip().endswith("*/"):
        for first in range(end, 0, -1):
            if begin := _BLOCK_BEGIN.match(lines[first - 1]):
                inner = [begin[1], *(re.sub(r"^\s*\*\s?", "", line) for line in lines[first:end])]
                return first, [line.removesuffix("*/").rstrip().removesuffix("*/") for line in inner]
        return end, []
    words: list[str] = []
    first = end
    while first >= 1 and (match := _LINE_COMMENT.match(lines[first - 1])):
        words.insert(0, match[1])
        first -= 1
    return first + 1, words


def _paragraph(doc: str) -> str:
    """The first paragraph on one line, without what markup and tags add."""
    first = re.split(r"\n\s*\n|\n\s*(?=[@:]\w+)", doc.strip())[0]
    return re.sub(r"\s+", " ", re.sub(r"``|<[^>]{1,40}>|[{}]|:\w+:", " ", first)).strip()


def without(text: str, functions: Iterable[Documented]) -> str:
    """A file without the documentation of these functions; every other line keeps its number."""
    lines = text.split("\n")
    for one in functions:
        for number in range(one.first, one.last + 1):
            lines[number - 1] = ""
    return "\n".join(lines)


def questions(files: Mapping[str, str], limit: int = 0) -> list[Question]:
    """A question a documented function, of source files only; the same every time. limit: at most so many, 0: all.

    files: path -> text. The function's own name is taken out of what is asked.
    """
    found = []
    for path, text in files.items():
        for one in documented(path, text) if is_source(path) else ():
            asked = re.sub(rf"\b{re.escape(one.name)}\b(?:\(\))?", "", one.text).strip(" .,:;-")
            if len(_WORD.findall(asked)) >= FEWEST_WORDS and not _NO_DOC.search(one.text):
                gold = (Gold(path, one.line, one.line),)
                found.append(Question(f"{path}:{one.line}", unfiltered(asked[:1_000]), gold, CATEGORY))
    found.sort(key=lambda question: hashlib.sha256(question.id.encode()).digest())
    return found[:limit] if limit else found
