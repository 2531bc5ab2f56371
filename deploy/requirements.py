"""Writes each service's requirements.txt from the one list of dependencies in pyproject.toml, pinned and hashed.

`make requirements` runs it. A service gets those of the list that it or service_kit imports, and what these need, at
the versions of constraints.txt. `uv pip compile` finds the hashes; it asks the package index.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# Service -> what is loaded by name, where no import statement shows it.
SERVICES = {
    "rag_app": ("uvicorn", "aiohttp", "fastapi-swagger", "llama-index-llms-openai-like", "tree-sitter-"),
    "embedding_service": ("uvicorn", "fastapi-swagger"),
    "llm_service": ("uvicorn", "fastapi-swagger"),
    "vector_db": ("uvicorn", "fastapi-swagger"),
}
# Imports whose package has another name.
_NAMED_OTHERWISE = {
    "qdrant_edge": "qdrant-edge-py",
    "pythonjsonlogger": "python-json-logger",
    "llama_index": "llama-index-core",
}


_PLATFORM = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")

_HEADER = "# {what} Made by `make requirements` from pyproject.toml and constraints.txt: not by hand.\n"


def dependencies() -> dict[str, str]:
    """The project's list: normalised name -> requirement as written."""
    listed: list[str] = _project()["dependencies"]
    return {name_of(requirement): requirement for requirement in listed}


def tests_dependencies() -> list[str]:
    """What the tests of a service need beside it: the dev extra without torch."""
    extra: list[str] = _project()["optional-dependencies"]["dev"]
    return [requirement for requirement in extra if name_of(requirement) != "code-assistant"]


def name_of(requirement: str) -> str:
    """`uvicorn[standard]>=0.54` -> `uvicorn`, in the index's normal form."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def needs_of(service: str) -> list[str]:
    """The requirements of the list that `service` has directly, sorted by name."""
    listed = dependencies()
    wanted = set(_imported(ROOT / service)) | set(_imported(ROOT / "service_kit"))
    if "search-eval" in wanted:
        wanted |= set(_imported(ROOT / "search_eval"))
    by_name = SERVICES[service]
    return [
        requirement
        for name, requirement in sorted(listed.items())
        if name in wanted
        or any(name == loaded or (loaded[-1] == "-" and name.startswith(loaded)) for loaded in by_name)
    ]


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def _imported(package: Path) -> Iterator[str]:
    for module in package.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            else:
                continue
            for name in names:
                top = name.partition(".")[0]
                yield name_of(_NAMED_OTHERWISE.get(top, top))


def _compile(requirements: Iterable[str], target: Path, what: str) -> None:
    """Pin, hash and write. Fails with the words of uv."""
    command = [
        "uv",
        "pip",
        "compile",
        "-",
        "--quiet",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--no-strip-extras",
        *_PLATFORM,
    ]
    asked = "\n".join(requirements)
    done = subprocess.run(
        [sys.executable, "-m", *command, "--constraint", str(ROOT / "constraints.txt")],
        input=asked, capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{target}: {done.stderr}")
    target.write_text(_HEADER.format(what=what) + done.stdout, "utf-8")


def main() -> None:
    """Write all of them."""
    for service in SERVICES:
        _compile(needs_of(service), ROOT / service / "requirements.txt", f"What {service} runs on.")
    everything = [*dependencies().values(), *tests_dependencies()]
    _compile(
        everything, ROOT / "deploy" / "requirements-dev.txt", "What all services and their tests run on, but torch."
    )


if __name__ == "__main__":
    main()
