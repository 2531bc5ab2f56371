"""Acknowledged means flushed: a killed server loses no point that it said it had, and opens again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.live import free_port

ROOT = Path(__file__).parents[3]
CONFIG = {"vectors": {"dense": {"size": 8, "distance": "Cosine"}}, "sparse_vectors": {"sparse": {}}}


def start(folder: Path, port: int) -> subprocess.Popen[str]:
    environment = os.environ | {"VECTOR_DB_DIR": str(folder), "QDRANT_PORT": str(port), "LOG_LEVEL": "WARNING"}
    environment.pop("QDRANT_HOST", None)
    command = [sys.executable, "-m", "vector_db"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


@contextmanager
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    port = free_port()
    process = start(folder, port)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        try:
            wait_until(lambda: is_ready(process, http))
            yield process, http
        finally:
            process.terminate()
            process.communicate(timeout=30)


def is_ready(process: subprocess.Popen[str], http: httpx.Client) -> bool:
    assert process.poll() is None, process.communicate()[1]
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(holds: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.02)


def point(row: int) -> dict[str, object]:
    vector = {"dense": [1.0, row, 0, 0, 0, 0, 0, 1], "sparse": {"indices": [row], "values": [1.5]}}
    return {"id": row, "vector": vector, "payload": {"row": row, "text": "x" * 200}}


def write_until_killed(http: httpx.Client, acknowledged: list[int], started: threading.Event) -> None:
    for first in range(0, 1_000_000, 5):
        rows = list(range(first, first + 5))
        try:
            response = http.put("/collections/code/points", json={"points": [point(row) for row in rows]})
        except httpx.TransportError:
            return
        assert response.status_code == 200, response.text
        acknowledged.extend(rows)
        if len(acknowledged) >= 100:
            started.set()


@pytest.mark.parametrize("extra_ms", [0, 7, 23])
def test_a_server_killed_while_it_writes_loses_no_acknowledged_point(tmp_path: Path, extra_ms: int) -> None:
    acknowledged: list[int] = []
    started = threading.Event()
    with server(tmp_path) as (process, http):
        http.put("/collections/code", json=CONFIG).raise_for_status()
        alias = {"create_alias": {"collection_name": "code", "alias_name": "latest"}}
        http.post("/collections/aliases", json={"actions": [alias]}).raise_for_status()
        index = {"field_name": "row", "field_schema": "integer"}
        http.put("/collections/code/index", json=index).raise_for_status()
        writer = threading.Thread(target=write_until_killed, args=(http, acknowledged, started))
        writer.start()
        assert started.wait(60)
        time.sleep(extra_ms / 1000)
        process.send_signal(signal.SIGKILL)
        process.wait()
        writer.join(30)
    assert len(acknowledged) >= 100
    with server(tmp_path) as (_, http):
        found = http.post("/collections/latest/points", json={"ids": acknowledged, "with_vector": True}).json()[
            "result"
        ]
        assert {record["id"] for record in found} == set(acknowledged)
        assert all(record["payload"]["row"] == record["id"] for record in found)
        assert all(record["vector"]["sparse"]["indices"] == [record["id"]] for record in found)
        assert http.get("/collections/code").json()["result"]["payload_schema"]["row"]["data_type"] == "integer"
        newest = {"key": "row", "match": {"value": acknowledged[-1]}}
        counted = http.post("/collections/code/points/count", json={"filter": {"must": [newest]}}).json()
        assert counted["result"]["count"] == 1


def test_a_deletion_that_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with server(tmp_path) as (process, http):
        for name in ("code", "gone"):
            http.put(f"/collections/{name}", json=CONFIG).raise_for_status()
        http.put("/collections/code/points", json={"points": [point(row) for row in range(20)]}).raise_for_status()
        http.post("/collections/code/points/delete", json={"points": list(range(10))}).raise_for_status()
        even = {"filter": {"must": [{"key": "row", "range": {"gte": 15}}]}}
        http.post("/collections/code/points/delete", json=even).raise_for_status()
        http.delete("/collections/gone").raise_for_status()
        process.send_signal(signal.SIGKILL)
        process.wait()
    with server(tmp_path) as (_, http):
        assert http.get("/collections").json()["result"] == {"collections": [{"name": "code"}]}
        page = http.post("/collections/code/points/scroll", json={"limit": 100}).json()["result"]
        assert [record["id"] for record in page["points"]] == [10, 11, 12, 13, 14]


def test_a_server_killed_while_collections_come_and_go_opens_again(tmp_path: Path) -> None:
    made: list[int] = []

    def churn(http: httpx.Client) -> None:
        try:
            for number in range(10_000):
                http.put(f"/collections/c{number}", json=CONFIG)
                http.put(f"/collections/c{number}/points", json={"points": [point(1)]})
                if number % 2:
                    http.delete(f"/collections/c{number}")
                made.append(number)
        except httpx.TransportError:
            return

    for round_ in range(2):
        with server(tmp_path) as (process, http):
            thread = threading.Thread(target=churn, args=(http,))
            thread.start()
            wait_until(lambda: len(made) > 5)
            time.sleep(0.2 + round_ / 50)
            process.send_signal(signal.SIGKILL)
            process.wait()
            thread.join(30)
            made.clear()
    with server(tmp_path) as (_, http):
        names = [found["name"] for found in http.get("/collections").json()["result"]["collections"]]
        assert names
        for name in names:
            assert http.get(f"/collections/{name}").json()["result"]["points_count"] in {0, 1}
        leftovers = [path.name for path in (tmp_path / "collections").iterdir() if "-" in path.name]
        assert leftovers == []


def test_a_second_server_on_the_same_folder_is_refused_in_words(tmp_path: Path) -> None:
    with server(tmp_path) as (process, _):
        second = start(tmp_path, free_port())
        _, stderr = second.communicate(timeout=60)
        assert second.returncode == 2
        assert f"in use by another vector_db (process {process.pid})" in stderr
        assert "VECTOR_DB_DIR" in stderr
        assert "Traceback" not in stderr


def test_a_taken_port_is_refused_naming_the_port_and_the_setting(tmp_path: Path) -> None:
    with server(tmp_path / "first") as (_, http):
        port = http.base_url.port
        assert port is not None
        second = start(tmp_path / "second", port)
        _, stderr = second.communicate(timeout=60)
        assert second.returncode == 2
        assert str(port) in stderr
        assert "QDRANT_PORT" in stderr


def test_logs_are_one_json_object_a_line_and_the_service_ends_on_sigterm(tmp_path: Path) -> None:
    process = start(tmp_path, free_port())
    time.sleep(0.1)
    process.terminate()
    _, stderr = process.communicate(timeout=60)
    assert all(json.loads(line) for line in stderr.splitlines())
