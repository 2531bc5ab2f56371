"""The code in a model's reply: taken out of its fence, named a language, parsed. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tree_sitter import Node

from rag_app.core import grammars
from rag_app.features.generation.passages import Passage
from service_kit.errors import ValidationFailed

_FENCED = re.compile(
    r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^\s`{]*)[^\n`]*\n(.*?)(?:^[ \t]*\2[`~]*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)

# What the prompt asks for after the block; without a fence it is no code either.
_DREW_ON = re.compile(r"^Drew on:.*\Z", re.DOTALL | re.MULTILINE)

# Written too, but not checked, since no grammar is installed for them. Other words are slips of the pen.
# SQL is one: its grammar takes an upsert, a PRAGMA and most dialects for errors, and so asks for needless repairs.
_UNCHECKED_WORDS = """
    ada apex arduino asm astro clojure cmake cobol commonlisp crystal cuda d dart dockerfile elisp elixir elm erlang
    fish fortran fsharp gdscript gleam glsl graphql groovy hack haskell haxe hcl hlsl ini julia latex less llvm luau
    make markdown matlab nim nix objc ocaml odin pascal perl powershell prisma proto protobuf puppet purescript r racket
    rescript rst sass scheme scss solidity sql starlark svelte systemverilog tcl terraform typst v verilog vhdl vim vue
    wgsl xml zig
"""
_WRITABLE = grammars.LANGUAGES.union(_UNCHECKED_WORDS.split())

# What users call a language, where the grammar has another name.
_ALIASES = {"c#": "csharp", "c++": "cpp", "golang": "go", "js": "javascript", "py": "python", "shell": "bash"}
_ALIASES |= {"rs": "rust", "sh": "bash", "ts": "typescript"}

_SUFFIXES = {
    ".bash": "bash",
    ".c": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cs": "csharp",
    ".css": "css",
    ".go": "go",
    ".h": "c",
    ".hpp": "cpp",
    ".html": "html",
    ".java": "java",
    ".js": "javascript",
    ".json": "json",
    ".jsx": "javascript",
    ".kt": "kotlin",
    ".lua": "lua",
    ".php": "php",
    ".py": "python",
    ".rb": "ruby",
    ".rs": "rust",
    ".scala": "scala",
    ".sh": "bash",
    ".sql": "sql",
    ".swift": "swift",
    ".toml": "toml",
    ".ts": "typescript",
    ".tsx": "tsx",
    ".yaml": "yaml",
    ".yml": "yaml",
}

# Prose and data are no language to write code in, though they can be asked for: a hit in a README decides nothing.
_NOT_CODE = frozenset({"", "json", "markdown", "rst", "text", "toml", "yaml"})

# A symbol shorter than this is in any code by chance.
_MIN_SYMBOL_CHARS = 4


@dataclass(frozen=True, slots=True)
class CodeCheck:
    """Does code parse? Where not: the first place, counted from 1, and the words for it.

    is_parsed: None where no grammar here can tell.
    """

    is_parsed: bool | None
    line: int = 0
    column: int = 0
    problem: str = ""


def extract_code(reply: str, language: str = "") -> str:
    """The longest fenced block of a reply, of those in `language` where there are any; all of it without a fence.

    An unclosed fence ends with the reply; a fence that is indented, as in a list, takes its indentation off its lines.
    """
    blocks = [(tag, _unindented(code, indent)) for indent, _, tag, code in _FENCED.findall(reply)]
    if not blocks:
        return _DREW_ON.sub("", reply).strip()
    spoken = [code for tag, code in blocks if language and _named(tag) == language]
    return max(spoken or [code for _, code in blocks], key=len)


def _unindented(code: str, indent: str) -> str:
    return "\n".join(line.removeprefix(indent) for line in code.split("\n"))


def check_code(code: str, language: str) -> CodeCheck:
    """Parse `code` with the grammar of `language` (a name that choose_language answered), where there is one."""
    if not code.strip():
        return CodeCheck(False, 1, 1, "the reply holds no code")
    if language not in grammars.LANGUAGES:
        return CodeCheck(None)
    tree = grammars.parser(language).parse(code.encode("utf-8", "replace"))
    broken = _first_error(tree.root_node)
    if broken is None:
        return CodeCheck(True)
    line, column = broken.start_point.row + 1, broken.start_point.column + 1
    what = f"missing {broken.type!r}" if broken.is_missing else "syntax error"
    shown = code.split("\n")[line - 1].strip()[:120]
    return CodeCheck(False, line, column, f"{what} at line {line}, column {column}: {shown}")


def _first_error(root: Node) -> Node | None:
    if not root.has_error:
        return None
    # Down the first branch that holds an error, as deep as it goes: its place is nearest to what went wrong.
    node: Node | None = root
    while node is not None and not (node.is_error or node.is_missing):
        root = node
        node = next((child for child in node.children if child.has_error), None)
    return node or root


def choose_language(asked: str | None, path: str | None, passages: Sequence[Passage]) -> str:
    """The language to write: the one asked for, else the path's, else the one of most passages.

    ValidationFailed where nobody knows such a language, or where nothing tells it.
    """
    if asked:
        name = _named(asked)
        if name not in _WRITABLE:
            raise ValidationFailed(f"language: {asked[:80]!r} is not known; give one such as 'python' or 'go'")
        return name
    by_path = _SUFFIXES.get(PurePosixPath(path or "").suffix.lower())
    if by_path:
        return by_path
    counts = Counter(p.language for p in passages if p.language in _WRITABLE and p.language not in _NOT_CODE)
    if not counts:
        raise ValidationFailed("language: neither 'path' nor the indexed code tells it; give 'language'")
    return counts.most_common(1)[0][0]


def _named(language: str) -> str:
    """What users and fences call a language, as the grammars call it."""
    name = language.strip().lower()
    return _ALIASES.get(name, name)


def drawn_on(code: str, named: Iterable[int], passages: Sequence[Passage]) -> list[int]:
    """Passages that code rests on: those that the model named, then those whose symbol the code uses."""
    words = frozenset(re.findall(r"\w+", code))
    used = [p.index for p in passages if len(p.symbol) >= _MIN_SYMBOL_CHARS and p.symbol in words]
    return list(dict.fromkeys([*named, *used]))
