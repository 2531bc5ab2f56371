"""Reads Alloy's configuration language, as much of it as ours uses; Alloy itself cannot be had where the tests run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Alloy's syntax: comments, strings, identifiers with dots (which are references in values), numbers, punctuation.
_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n]+|//[^\n]*|/\*.*?\*/)
      |(?P<string>"(?:[^"\\\n]|\\.)*")
      |(?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
      |(?P<number>\d+(?:\.\d+)?)
      |(?P<mark>[{}\[\](),=+])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass
class Block:
    """`name "label" { … }`. values: of attributes, as the list of their tokens."""

    name: str
    label: str = ""
    values: dict[str, list[str]] = field(default_factory=dict)
    blocks: list["Block"] = field(default_factory=list)

    def all(self) -> Iterator["Block"]:
        """This block and those inside of it."""
        yield self
        for block in self.blocks:
            yield from block.all()


def parse(text: str) -> Block:
    """The file as a block without a name. Fails with a ValueError that tells the place."""
    return _Parser(text).file()


class _Parser:
    def __init__(self, text: str):
        self._tokens: list[tuple[str, str, int]] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"line {text.count(chr(10), 0, at) + 1}: cannot read {text[at : at + 20]!r}")
            if found.lastgroup != "skip":
                self._tokens.append((str(found.lastgroup), found.group(), text.count("\n", 0, at) + 1))
            at = found.end()
        self._at = 0

    def file(self) -> Block:
        root = Block("")
        self._body(root)
        if self._at < len(self._tokens):
            raise ValueError(f"line {self._tokens[self._at][2]}: nothing is open that could end here")
        return root

    def _body(self, block: Block) -> None:
        while self._kind() == "word":
            name = self._take("word")
            if self._text() == "=":
                self._take("mark")
                if name in block.values:
                    raise ValueError(f"{block.name}.{name} stands there twice")
                block.values[name] = list(self._value())
            else:
                label = self._take("string").strip('"') if self._kind() == "string" else ""
                inner = Block(name, label)
                self._expect("{")
                self._body(inner)
                self._expect("}")
                block.blocks.append(inner)

    def _value(self) -> Iterator[str]:
        yield from self._term()
        while self._text() == "+":
            yield self._take("mark")
            yield from self._term()

    def _term(self) -> Iterator[str]:
        if self._text() in ("[", "{"):
            opened = self._take("mark")
            yield opened
            yield from self._list("]" if opened == "[" else "}", is_object=opened == "{")
        elif self._kind() in ("string", "number"):
            yield self._take(self._kind())
        else:
            yield self._take("word")
            if self._text() == "(":
                yield self._take("mark")
                yield from self._list(")", is_object=False)

    def _list(self, end: str, *, is_object: bool) -> Iterator[str]:
        while self._text() != end:
            if is_object:
                yield self._take(self._kind())
                self._expect("=")
                yield "="
            yield from self._value()
            if self._text() != end:
                self._expect(",")
                yield ","
        yield self._take("mark")

    def _kind(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _text(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self, kind: str) -> str:
        if self._kind() != kind or not kind:
            line = self._tokens[min(self._at, len(self._tokens) - 1)][2]
            raise ValueError(f"line {line}: {self._text()!r} where a {kind or 'value'} belongs")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _expect(self, mark: str) -> None:
        if self._text() != mark:
            line = self._tokens[min(self._at, len(self._tokens) - 1)][2]
            raise ValueError(f"line {line}: {self._text()!r} where {mark!r} belongs")
        self._at += 1
