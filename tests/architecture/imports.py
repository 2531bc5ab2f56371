"""Reads the imports of a tree with `ast` and says which of them break the rules."""

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.rules import FEATURES, FLAT, FLOORS, HOMES, OPEN, PACKAGES


@dataclass(frozen=True, slots=True)
class Import:
    """`module` imports `target`, e.g. rag_app.main -> rag_app.db.chunks. `is_relative`: written with dots."""

    module: str
    target: str
    line: int
    is_relative: bool = False

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def imports_of(root: Path) -> list[Import]:
    """Every import in the packages of the house under `root`, in functions, TYPE_CHECKING and notebooks' cells, too."""
    found: list[Import] = []
    for package in sorted(PACKAGES):
        for path in sorted((root / package).rglob("*.py")):
            found.extend(_read(root, path, path.read_text("utf-8")))
        for path in sorted((root / package).rglob("*.ipynb")):
            found.extend(_read(root, path, _code(path)))
    return found


def _code(notebook: Path) -> str:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def _read(root: Path, path: Path, code: str) -> Iterator[Import]:
    parts = path.relative_to(root).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            for alias in node.names:
                yield Import(module, f"{base}.{alias.name}", node.lineno, node.level > 0)
        elif isinstance(node, ast.Call) and _is_dynamic_import(node):
            argument = node.args[0]
            assert isinstance(argument, ast.Constant)
            yield Import(module, str(argument.value), node.lineno)


def _is_dynamic_import(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name == "import_module" and bool(node.args) and isinstance(node.args[0], ast.Constant)


def breaches(imports: list[Import]) -> list[str]:
    """One sentence for each import that breaks a rule."""
    found: list[str] = []
    for item in imports:
        for rule in (_relative, _package, _floor, _feature, _home):
            reason = rule(item)
            if reason:
                found.append(f"{item}: {reason}")
    return found


def _top(module: str) -> str:
    return module.split(".", 1)[0]


def _relative(item: Import) -> str:
    return "imports are absolute" if item.is_relative else ""


def _package(item: Import) -> str:
    source, target = _top(item.module), _top(item.target)
    if target == "tests":
        return "nothing imports tests"
    if item.module in OPEN and f"{item.target}.".startswith(f"{OPEN[item.module]}."):
        return ""
    if target in PACKAGES and target != source and target not in PACKAGES[source]:
        return f"{source} may import {sorted(PACKAGES[source]) or 'nothing of ours'}"
    return ""


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def _floor(item: Import) -> str:
    if _top(item.module) != _top(item.target) or _top(item.module) in FLAT:
        return ""
    source, target = _room(item.module), _room(item.target)
    if source not in FLOORS or target not in FLOORS:
        return "" if source == target else f"a room without a floor: {source or item.module} or {target or item.target}"
    if FLOORS[target] > FLOORS[source]:
        return f"{source} stands below {target}"
    if FLOORS[target] == FLOORS[source] and source != target and FLOORS[source] > 0:
        return f"{source} and {target} stand side by side and do not meet"
    return ""


def _feature(item: Import) -> str:
    source, target = item.module.split("."), item.target.split(".")
    if source[0] != target[0] or source[1:2] != ["features"] or target[1:2] != ["features"] or len(target) < 3:
        return ""
    if len(source) < 3 or source[2] == target[2]:
        return ""
    if target[2] not in FEATURES.get(source[2], frozenset()):
        return f"{source[2]} does not speak to {target[2]}"
    return "" if target[3:4] == ["service"] else f"features meet only through {target[2]}/service.py"


def _home(item: Import) -> str:
    for library, homes in HOMES.items():
        is_it = item.target == library or item.target.startswith(library + ".")
        if is_it and not any(item.module == home or item.module.startswith(home + ".") for home in homes):
            return f"{library} lives in {', '.join(homes)}"
    return ""


def cycles(imports: list[Import]) -> list[list[str]]:
    """Modules of ours that import each other in a loop, as the strongly connected groups of more than one."""
    modules = {item.module for item in imports}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for item in imports:
        target = item.target if item.target in modules else item.target.rpartition(".")[0]
        if target in modules and target != item.module:
            graph[item.module].add(target)
    return _strongly_connected(graph)


def _strongly_connected(graph: dict[str, set[str]]) -> list[list[str]]:
    reach = {module: _reachable(graph, module) for module in graph}
    groups = {frozenset(other for other in reach[module] if module in reach[other]) for module in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for module in graph[waiting.pop()] - seen:
            seen.add(module)
            waiting.append(module)
    return seen
