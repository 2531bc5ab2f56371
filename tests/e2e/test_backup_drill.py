"""The drill: back up while another job runs, lose everything, restore into a running server, and search as before."""

import ast
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import Stack, running

SOURCES = Path(__file__).resolve().parents[2]
QUERIES = 200
# A job of some hundred chunks takes the model half a minute of two cores.
JOB_LIMIT_S = 240


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("drill").resolve()
    for name, packages in {"first": ("rag_app/features", "rag_app/db"), "second": ("llm_service",)}.items():
        for package in packages:
            ignored = shutil.ignore_patterns("__pycache__", "Dockerfile*")
            shutil.copytree(SOURCES / package, folder / name / package, ignore=ignored)
    with running(folder) as stack:
        yield stack


def test_after_losing_everything_a_restore_brings_the_same_hits_in_the_same_order(drill: Stack) -> None:
    first = drill.folder / "first"
    indexed = drill.cli("index", str(first), "--name", "first", "--json")
    assert indexed.returncode == 0, indexed.stderr
    scope = json.loads(indexed.stdout)["repository"]["id"]
    queries = _queries(first)
    assert len(queries) == QUERIES
    before = [_search(drill, query, scope) for query in queries]
    assert sum(bool(hits) for hits in before) == QUERIES

    started = drill.cli("index", str(drill.folder / "second"), "--name", "second", "--no-wait", "--json")
    job = json.loads(started.stdout)["job"]["id"]
    _wait(lambda: _job(drill, job)["progress"]["chunks_done"] > 0)
    backed_up = drill.cli("backup", str(drill.folder / "backup"), "--json")
    assert backed_up.returncode == 0, backed_up.stderr
    assert _job(drill, job)["state"] == "running", "the other job was over before the backup was"
    told = json.loads(backed_up.stdout)
    assert told["repositories"] == ["first", "second"]

    for service in ("rag_app", "vector_db"):
        drill.stop(service)
    shutil.rmtree(drill.env["DATA_DIR"])
    for service, port in (("vector_db", "QDRANT_PORT"), ("rag_app", "RAG_PORT")):
        drill.start(service)
        drill.wait_for(port)
    assert drill.post("/v1/search", {"query": queries[0]})[1]["hits"] == []

    restored = drill.cli("restore", str(drill.folder / "backup"), "--json")
    assert restored.returncode == 0, restored.stderr
    assert json.loads(restored.stdout)["chunks"] == told["chunks"]
    after = [_search(drill, query, scope) for query in queries]
    for query, now, then in zip(queries, after, before, strict=True):
        assert [hit for hit, _ in now] == [hit for hit, _ in then], (query, now, then)
        # Bit for bit but for the service's own sums, whose order may change by its batches.
        assert [score for _, score in now] == pytest.approx([score for _, score in then], abs=1e-6)


def test_the_job_that_the_backup_cut_off_is_begun_again_and_ends(drill: Stack) -> None:
    _wait(lambda: {r["state"] for r in _repositories(drill)} == {"ready"})
    assert sorted(r["name"] for r in _repositories(drill)) == ["first", "second"]
    second = next(r for r in _repositories(drill) if r["name"] == "second")
    assert second["files"] == sum(1 for path in (drill.folder / "second").rglob("*") if _is_text(path))
    assert _search(drill, "circuit breaker of a backend", second["id"])


def test_a_restore_over_a_running_server_is_served_at_once_and_drops_what_came_after(drill: Stack) -> None:
    extra = drill.folder / "first" / "zebra.py"
    extra.write_text("def graze_savannah():\n    return 'grass'\n")
    assert drill.cli("index", str(drill.folder / "first")).returncode == 0
    scope = next(r for r in _repositories(drill) if r["name"] == "first")["id"]
    assert "zebra.py" in drill.cli("search", "graze_savannah", "--limit", "1").stdout
    refused = drill.cli("restore", str(drill.folder / "backup"))
    assert (refused.returncode, "give --replace" in refused.stderr) == (2, True)
    replaced = drill.cli("restore", str(drill.folder / "backup"), "--replace")
    assert replaced.returncode == 0, replaced.stderr
    hits = drill.post("/v1/search", {"query": "graze_savannah", "repositories": [scope]})[1]["hits"]
    assert isinstance(hits, list)
    assert "zebra.py" not in {hit["path"] for hit in hits}
    # And the server goes on from there: what is on disk is indexed again.
    assert drill.cli("index", str(drill.folder / "first")).returncode == 0
    assert "zebra.py" in drill.cli("search", "graze_savannah", "--limit", "1").stdout


def _queries(folder: Path) -> list[str]:
    """The first lines of docstrings, then names: what one might ask of this code."""
    lines, names = [], []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.append(node.name)
                if said := ast.get_docstring(node):
                    lines.append(said.splitlines()[0])
    return list(dict.fromkeys([*lines, *names]))[:QUERIES]


def _search(stack: Stack, query: str, scope: str) -> list[tuple[str, float]]:
    status, answer = stack.post("/v1/search", {"query": query, "repositories": [scope], "limit": 10})
    assert (status, answer["degraded"]) == (200, [])
    hits: Any = answer["hits"]
    return [(hit["id"], hit["score"]) for hit in hits]


def _is_text(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _job(stack: Stack, job: str) -> Any:
    return json.loads(_get(stack, f"/v1/jobs/{job}"))


def _repositories(stack: Stack) -> list[Any]:
    found: list[Any] = json.loads(_get(stack, "/v1/repositories"))["repositories"]
    return found


def _get(stack: Stack, path: str) -> bytes:
    import urllib.request

    with urllib.request.urlopen(stack.url + path, timeout=60) as answer:
        content: bytes = answer.read()
        return content


def _wait(is_so: Any) -> None:
    deadline = time.monotonic() + JOB_LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
