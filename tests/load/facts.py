"""What source files say of themselves: names that are defined, sentences about them, messages that are raised.

By regular expressions, one set for all languages: what is missed does not matter, only that the rest is real.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "sentence", "message", "file"]

# def f, class F, function f, interface F, export const f; and Java's or C++'s `modifiers Type name(`.
_DEFINED = re.compile(
    r"^[ \t]*(?:(?:export|default|async|abstract|public|private|protected|static|final)\s+)*"
    r"(?:def|class|function\*?|interface|enum|struct)\s+(?P<name>[A-Za-z_]\w{3,})"
    r"|^[ \t]*export\s+const\s+(?P<const>[A-Za-z_]\w{3,})\s*="
    r"|^[ \t]*(?:public|private|protected|static|final|virtual|inline)\s[\w<>\[\],:&*? \t]*?"
    r"\b(?P<method>[A-Za-z_]\w{3,})\("
    r"|^[\w:<>*& \t]+?\s(?P<member>\w+::\w{3,})\(",
    re.MULTILINE,
)
_CLASS = re.compile(r"^[ \t]*(?:(?:export|default|abstract|public|private|static|final)\s+)*class\s+\w+")
_COMMENT = re.compile(
    r'^[ \t]*(?:#+|//+|/?\*+)?[ \t]*(?:"""|\'\'\')?[ \t]*'
    r'(?P<words>[A-Z][a-z]+ [^\n]{14,}?)[ \t]*(?:"""|\'\'\'|\*/)?[ \t]*$',
    re.MULTILINE,
)
_RAISED = re.compile(
    r"(?:raise|throw|throws?\s+new|RuntimeError|Exception|Error)\b[^\n;]{0,60}\(\s*(?:_\(\s*)?[fru]{0,2}"
    r"(?P<quote>[\"'`])(?P<message>[^\"'`\n]{15,160})(?P=quote)"
)
# What shows that a line is code, markup or a licence and not a sentence.
_NO_SENTENCE = re.compile(
    r"[{}=<>;|\\]|::|\w\(|https?:|copyright|licen[sc]e|notice|applicable law|warrant|\.\.\.", re.IGNORECASE
)
_WORDS = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a file says. `symbol`: the name defined last before it, "" where there is none."""

    kind: Kind
    path: str
    symbol: str
    text: str


def facts(path: str, source: str) -> Iterator[Fact]:
    """Every fact of a file, in the order of its text."""
    yield Fact("file", path, "", path)
    found: list[tuple[int, Kind, str]] = []
    for match in _DEFINED.finditer(source):
        name = next(group for group in match.group("name", "const", "method", "member") if group)
        found.append((match.start(), "name", name))
    found += [(m.start(), "sentence", m["words"]) for m in _COMMENT.finditer(source) if _is_sentence(m["words"])]
    found += [(m.start(), "message", m["message"]) for m in _RAISED.finditer(source)]
    symbol, around = "", ""
    for position, kind, text in sorted(found):
        if kind == "name":
            line = source[source.rfind("\n", 0, position) + 1 : position + 200].lstrip("\n")
            is_class = _CLASS.match(line) is not None
            is_inside = line[:1] in (" ", "\t")
            symbol = f"{around}.{text}" if is_inside and around and not is_class else text
            around = text if is_class else around if is_inside else ""
            yield Fact("name", path, symbol, symbol)
        else:
            yield Fact(kind, path, symbol, " ".join(text.split()))


def _is_sentence(text: str) -> bool:
    return len(_WORDS.findall(text)) >= 4 and not _NO_SENTENCE.search(text)
