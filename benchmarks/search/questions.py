"""What is asked: names, messages and first lines of docstrings of the code that is indexed, the same every time."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

SYMBOL, WORDS, ERROR, SENTENCE = "symbol", "words", "error", "sentence"
KINDS = (SYMBOL, WORDS, ERROR, SENTENCE)

# What somebody types or pastes: a line of a page.
_MOST_CHARS = 160

# A name of fewer letters, or a message of fewer words, says nothing.
_LEAST_LETTERS, _LEAST_PARTS, _LEAST_WORDS, _WORDS_OF_A_SENTENCE = 4, 3, 3, 6

# A table of numbers in a file of megabytes takes seconds to parse, and nobody asks for it.
_MOST_BYTES = 200_000

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class TooFew(Exception):
    """The sources have no question of a kind; the text says which."""


@dataclass(frozen=True, slots=True)
class Question:
    """A text to search for. path: of the file that it was drawn from, relative to its source's root."""

    kind: str
    text: str
    path: str


def draw(roots: Sequence[Path], count: int) -> list[Question]:
    """`count` questions, as many of each kind as of the others, fewer where the sources have no more.

    Files come in the order of a hash, so that they are of every part; each gives one question of a kind at most, and no
    two questions have the same text. Tests give none: nobody asks for their names. The same sources give the same
    questions, wherever they lie. Fails with TooFew.
    """
    drawn: dict[str, list[Question]] = {kind: [] for kind in KINDS}
    wanted = {kind: count // len(KINDS) + (number < count % len(KINDS)) for number, kind in enumerate(KINDS)}
    seen: set[str] = set()
    for root, path in _files(roots):
        missing = [kind for kind in KINDS if len(drawn[kind]) < wanted[kind]]
        if not missing:
            break
        found = of_file((root / path).read_text("utf-8", errors="replace"))
        for kind in missing:
            fresh = [text for text in found[kind] if text.casefold() not in seen]
            if fresh:
                text = min(fresh, key=_hash)
                seen.add(text.casefold())
                drawn[kind].append(Question(kind, text, path))
    for kind in KINDS:
        if wanted[kind] and not drawn[kind]:
            raise TooFew(f"nothing to ask of the kind {kind!r} in {', '.join(map(str, roots))}")
    return [question for kind in KINDS for question in drawn[kind]]


def of_file(source: str) -> dict[str, list[str]]:
    """All that a Python file gives to be asked, by kind; nothing where it cannot be parsed.

    A method's name stands with its class's, or alone, by its hash.
    """
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # tests of parsers hold such files
        return found
    for node, owner in _nodes(module, ""):
        if isinstance(node, ast.Raise):
            _add(found[ERROR], _message(node))
        if not isinstance(node, _Function | ast.ClassDef):
            continue
        if not node.name.startswith("__"):
            is_qualified = bool(owner) and _hash(node.name)[0] in "01234567"
            _add(found[SYMBOL], f"{owner}.{node.name}" if is_qualified else node.name)
        if isinstance(node, _Function):
            _add(found[WORDS], _words(node.name))
        _add(found[SENTENCE], _first_line(node))
    return found


def _files(roots: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    files = [(root, path.relative_to(root).as_posix()) for root in roots for path in root.rglob("*.py")]
    for root, path in sorted(files, key=lambda file: _hash(f"{file[0].name}/{file[1]}")):
        if not _is_test(root, path) and (root / path).stat().st_size <= _MOST_BYTES:
            yield root, path


def _is_test(root: Path, path: str) -> bool:
    return any("test" in part for part in f"{root.name}/{path}".split("/"))


def _nodes(node: ast.AST, owner: str) -> Iterator[tuple[ast.AST, str]]:
    """Every node below, with the name of the class whose method it is, or ""."""
    for child in ast.iter_child_nodes(node):
        yield child, owner
        yield from _nodes(child, child.name if isinstance(child, ast.ClassDef) else "")


def _add(texts: list[str], text: str) -> None:
    if len(text) >= _LEAST_LETTERS:
        texts.append(text)


def _words(name: str) -> str:
    parts = [part for part in name.lower().split("_") if part]
    return " ".join(parts) if len(parts) >= _LEAST_PARTS and not name.startswith("__") else ""


def _first_line(node: _Function | ast.ClassDef) -> str:
    docstring = ast.get_docstring(node) or ""
    line = docstring.strip().split("\n")[0].strip()
    return line if len(line) <= _MOST_CHARS and len(line.split()) >= _WORDS_OF_A_SENTENCE else ""


def _message(node: ast.Raise) -> str:
    """As it is pasted: the error's name, and its text with values in it."""
    if not isinstance(node.exc, ast.Call) or not node.exc.args:
        return ""
    name = ast.unparse(node.exc.func).rpartition(".")[2]
    line = " ".join(_told(node.exc.args[0]).split())
    is_message = name.isidentifier() and len(line.split()) >= _LEAST_WORDS
    return f"{name}: {line}" if is_message and len(line) <= _MOST_CHARS else ""


def _told(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_told(part) if isinstance(part, ast.Constant) else "'x'" for part in parts)
        case ast.BinOp(left=left, op=ast.Mod()):
            return _told(left).replace("%s", "x").replace("%r", "'x'").replace("%d", "17")
        case ast.Call(func=ast.Name(id="_" | "gettext" | "gettext_lazy"), args=[first, *_]):
            return _told(first)
    return ""


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
