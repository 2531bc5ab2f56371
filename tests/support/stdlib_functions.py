"""A retrieval test that every machine has: functions of the running Python's standard library, by their docstrings.

A query is the first paragraph of a docstring, its document the same function without the docstring. Nobody here wrote
either, and nothing is downloaded.
"""

import ast
import hashlib
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Tests hold thousands of near-copies, and what is installed beside the library differs from machine to machine.
_SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"}


@dataclass(frozen=True, slots=True)
class StdlibFunction:
    """path: within the standard library. doc: first paragraph, on one line. body: dedented source without docstring."""

    path: str
    name: str
    doc: str
    body: str


def stdlib_functions(count: int = 1500, *, wanted: Callable[[str], bool] = lambda path: True) -> list[StdlibFunction]:
    """The same `count` functions on every run of one Python version, spread over the whole library.

    wanted: which files, by their path within it.

    Each has a docstring paragraph of at least five words and three lines of code; none is a copy of another.
    """
    root = Path(sysconfig.get_path("stdlib"))
    docs: set[str] = set()
    bodies: set[str] = set()
    functions = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if _SKIPPED.intersection(relative.parts) or not wanted(relative.as_posix()):
            continue
        for function in _functions(path, relative.as_posix()):
            if function.doc not in docs and function.body not in bodies:
                docs.add(function.doc)
                bodies.add(function.body)
                functions.append(function)
    # By hash: an order that no alphabet and no version's file list has a say in.
    functions.sort(key=lambda function: hashlib.sha256(function.body.encode()).digest())
    assert len(functions) >= count, f"the standard library has {len(functions)} such functions, fewer than {count}"
    return functions[:count]


def mrr_at_10(queries: NDArray[np.float32], documents: NDArray[np.float32]) -> float:
    """Mean reciprocal rank, 0 beyond rank 10; both (n, dim), row i of one belongs to row i of the other; cosine."""
    scores = _unit(queries) @ _unit(documents).T  # (n, n)
    ranks = 1 + (scores > np.diag(scores)[:, None]).sum(axis=1)
    return float(np.where(ranks <= 10, 1 / ranks, 0.0).mean())


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def _functions(path: Path, relative: str) -> Iterator[StdlibFunction]:
    source = path.read_text(encoding="utf-8", errors="replace")
    lines = source.splitlines(keepends=True)
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a template, or a file that is meant to be broken
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        doc = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
        body = _without_docstring(node, lines)
        if len(doc.split()) >= 5 and len(body.splitlines()) >= 4:  # the line of `def`, and three
            yield StdlibFunction(relative, node.name, doc, body)


def _without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: Sequence[str]) -> str:
    docstring = node.body[0]
    kept = [*lines[node.lineno - 1 : docstring.lineno - 1], *lines[docstring.end_lineno : node.end_lineno]]
    return textwrap.dedent("".join(kept))
