"""Three replicas that only answer and two indexers, as real processes over one data folder."""

import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag_app.features.indexing.lease import LASTING_S
from tests.support.replicas import Replicas, replicas, until

APIS = ("api-1", "api-2", "api-3")
INDEXERS = ("indexer-1", "indexer-2")
FILES = 60


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    with replicas(tmp_path_factory.mktemp("scaled")) as running:
        yield running


@pytest.fixture
def scaled(processes: Replicas) -> Iterator[Replicas]:
    """All five alive, nothing indexed; a start costs 4 CPU-seconds, so that tests share them."""
    processes.start("indexer", *(name for name in INDEXERS if not processes.has(name)))
    processes.start("api", *(name for name in APIS if not processes.has(name)))
    yield processes
    processes.gate.passes = None
    until(lambda: forgotten(processes), "every repository is deleted")


def forgotten(scaled: Replicas) -> bool:
    """Delete what a test has indexed; False while a job of it runs."""
    listed = scaled.call("api-1", "GET", "/v1/repositories").json()["repositories"]
    for one in listed:
        scaled.call("api-1", "DELETE", f"/v1/repositories/{one['id']}")
    return not listed


def make_repository(root: Path, files: int = FILES) -> Path:
    """A new folder with functions that take locks of shelves."""
    room = len(list(root.iterdir()))  # in the text, too: what was embedded once is not embedded again
    folder = root / f"shelves-{room}"
    folder.mkdir()
    for number in range(files):
        doc = f'"""Take the lock of shelf {number} in room {room}."""'
        text = f"def take_{number}(lock):\n    {doc}\n    return lock.take({number})\n"
        (folder / f"shelf_{number}.py").write_text(text * 3)
    return folder


def lease(scaled: Replicas) -> tuple[str, float]:
    """(the name of the indexer that holds the lease, "" where none that runs does; when it would run out)."""
    data = scaled.root.parent / "data"
    with closing(sqlite3.connect(data / "manifest.sqlite")) as connection:
        row = connection.execute("SELECT holder, expires_at FROM leases").fetchone()
    mark = data / "indexers" / row[0].partition("/")[2] if row else data
    if not mark.is_file():
        return "", 0.0
    number = mark.read_text().split()[1]
    return next((n for n in INDEXERS if scaled.has(n) and str(scaled.process(n).pid) == number), ""), row[1]


def leased(scaled: Replicas) -> str:
    """The name of the indexer that holds the lease, once one does."""
    until(lambda: lease(scaled)[0] != "", "an indexer has the lease")
    return lease(scaled)[0]


def begun(scaled: Replicas, passes: int) -> dict[str, Any]:
    """A job that has `passes` batches of vectors and waits for the next one."""
    scaled.gate.passes = passes
    accepted = scaled.register("api-1", make_repository(scaled.root, files=400))
    until(lambda: scaled.gate.passes == 0 and scaled.gate.held > 0, "the job waits for vectors")
    return accepted


def search(scaled: Replicas, name: str, query: str) -> list[dict[str, Any]]:
    answer = scaled.call(name, "POST", "/v1/search", json={"query": query, "limit": 20})
    assert answer.status_code == 200, answer.text
    hits: list[dict[str, Any]] = answer.json()["hits"]
    return hits


def points(scaled: Replicas) -> int:
    """What the vector store holds, leftovers included."""
    url = f"http://127.0.0.1:{scaled.stack.env['QDRANT_PORT']}/collections/code/points/count"
    return int(httpx.post(url, json={"exact": True}, timeout=30).json()["result"]["count"])


def test_what_is_asked_of_one_replica_is_seen_by_all(scaled: Replicas) -> None:
    folder = make_repository(scaled.root)
    accepted = scaled.register("api-1", folder)
    job, repository = accepted["job"]["id"], accepted["repository"]["id"]
    for name in APIS[1:]:  # each of them streams the job that the first one took
        with httpx.stream("GET", f"{scaled.urls[name]}/v1/jobs/{job}/events", timeout=60) as stream:
            lines = list(stream.iter_lines())
        assert [line for line in lines if line.startswith("event:")][-1] == "event: done"
        told = json.loads([line for line in lines if line.startswith("data:")][-1].removeprefix("data:"))
        assert (told["state"], told["progress"]["files_done"]) == ("succeeded", FILES)

    for query in ("the lock of shelf 7", "take_31", "where is a lock taken?"):
        first, second, third = (search(scaled, name, query) for name in APIS)
        assert len(first) == 20
        assert first == second == third

    # Changed through the second, seen by the third; deleted through the third, gone from all.
    (folder / "new.py").write_text("def zanzibar():\n    return 1\n")
    synced = scaled.call("api-2", "POST", f"/v1/repositories/{repository}/sync").json()
    assert scaled.finished("api-3", synced["job"]["id"])["state"] == "succeeded"
    assert search(scaled, "api-3", "zanzibar")[0]["path"] == "new.py"
    assert scaled.call("api-3", "DELETE", f"/v1/repositories/{repository}").status_code == 204
    for name in APIS:
        assert scaled.call(name, "GET", f"/v1/repositories/{repository}").status_code == 404
        assert search(scaled, name, "zanzibar") == []
    assert points(scaled) == 0


def test_a_replica_never_indexes_and_tells_where_nobody_does(scaled: Replicas) -> None:
    assert leased(scaled)
    assert check(scaled, "api-1", "indexer")["ok"]
    for name in INDEXERS:
        scaled.stack.stop(name)
    accepted = scaled.register("api-1", make_repository(scaled.root))
    told = check(scaled, "api-2", "indexer")
    assert (told["ok"], told["required"]) == (False, False)
    assert "RAG_ROLE=indexer" in told["detail"]
    time.sleep(3)  # three of the looks that an indexer takes: a second is what it waits for a job
    assert scaled.call("api-3", "GET", f"/v1/jobs/{accepted['job']['id']}").json()["state"] == "queued"
    assert lease(scaled) == ("", 0.0)

    scaled.start("indexer", "indexer-1")
    assert scaled.finished("api-2", accepted["job"]["id"])["state"] == "succeeded"


def check(scaled: Replicas, name: str, what: str) -> dict[str, Any]:
    checks = scaled.call(name, "GET", "/readyz").json()["checks"]
    found: dict[str, Any] = next(check for check in checks if check["name"] == what)
    return found


def test_an_indexer_answers_for_its_health_and_for_nothing_else(scaled: Replicas) -> None:
    for name in INDEXERS:
        assert scaled.call(name, "GET", "/healthz").status_code == 200
        ready = scaled.call(name, "GET", "/readyz")
        assert ready.status_code == 200
        assert {c["name"]: c["required"] for c in ready.json()["checks"]} == {"qdrant": True, "embedding": True}
        assert scaled.call(name, "POST", "/v1/search", json={"query": "lock"}).status_code == 404
        assert scaled.call(name, "GET", "/v1/repositories").status_code == 404
        assert scaled.call(name, "GET", "/").status_code == 404
    until(lambda: metrics_tell(scaled) == [lease(scaled)[0]], "the one that holds the lease tells so in its metrics")


def metrics_tell(scaled: Replicas) -> list[str]:
    """Who says of itself that it indexes."""
    told = {name: scaled.call(name, "GET", "/metrics").text.splitlines() for name in (*INDEXERS, *APIS)}
    return [name for name, lines in told.items() if "rag_indexer 1.0" in lines]


def test_the_leased_indexer_is_killed_in_mid_job_and_the_other_ends_it_right(scaled: Replicas) -> None:
    accepted = begun(scaled, passes=3)
    dead = leased(scaled)
    _, would_run_out_at = lease(scaled)
    scaled.kill(dead)
    other = next(name for name in INDEXERS if name != dead)
    until(lambda: lease(scaled)[0] == other, "the other has the lease")
    assert time.time() < would_run_out_at  # the dead one's time was not waited for
    scaled.gate.passes = None
    done = scaled.finished("api-2", accepted["job"]["id"])
    assert (done["state"], done["progress"]["files_done"], done["error"]) == ("succeeded", 400, None)
    repository = scaled.call("api-3", "GET", f"/v1/repositories/{accepted['repository']['id']}").json()
    assert (repository["state"], repository["files"]) == ("ready", 400)
    assert points(scaled) == repository["chunks"]
    assert search(scaled, "api-1", "take_399")[0]["path"] == "shelf_399.py"


def test_an_indexer_that_hangs_loses_the_lease_and_leaves_the_job_alone_when_it_comes_back(scaled: Replicas) -> None:
    accepted = begun(scaled, passes=3)
    hung = leased(scaled)
    scaled.process(hung).send_signal(signal.SIGSTOP)
    other = next(name for name in INDEXERS if name != hung)
    until(lambda: lease(scaled)[0] == other, "the other has the lease", limit_s=LASTING_S + 45)
    scaled.process(hung).send_signal(signal.SIGCONT)
    scaled.gate.passes = None
    done = scaled.finished("api-1", accepted["job"]["id"])
    assert (done["state"], done["progress"]["files_done"]) == ("succeeded", 400)
    repository = scaled.call("api-1", "GET", f"/v1/repositories/{accepted['repository']['id']}").json()
    assert points(scaled) == repository["chunks"]
    assert leased(scaled) == other
    assert "another process took the lease" in (scaled.root.parent / f"{hung}.log").read_text()
