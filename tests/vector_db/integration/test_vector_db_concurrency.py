"""Many callers at once: no acknowledged point is lost, no answer is torn, and the service stays responsive."""

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from qdrant_client import QdrantClient

POINTS = "/collections/code/points"
SECONDS = 2.0


def point(id_: int) -> dict[str, object]:
    return {"id": id_, "vector": {"dense": [1.0, id_ % 97, 0.0, 1.0]}, "payload": {"id": id_}}


def test_concurrent_writers_and_readers_lose_and_tear_nothing(http: httpx.Client, url: str) -> None:
    stop = threading.Event()
    acknowledged: list[int] = []
    deleted: list[int] = []

    def loop(work: Callable[[httpx.Client, int], None]) -> None:
        rounds = 0
        with httpx.Client(base_url=url, timeout=60) as own:
            while not stop.is_set() or rounds <= 5:
                work(own, rounds)
                rounds += 1

    def write(writer: int) -> Callable[[httpx.Client, int], None]:
        def work(own: httpx.Client, round_: int) -> None:
            ids = [writer * 1_000_000 + round_ * 10 + i for i in range(10)]
            own.put(POINTS, json={"points": [point(id_) for id_ in ids]}).raise_for_status()
            acknowledged.extend(ids)
            if round_ % 5 == 0:
                own.post(f"{POINTS}/delete", json={"points": ids[:2]}).raise_for_status()
                deleted.extend(ids[:2])

        return work

    def read(own: httpx.Client, round_: int) -> None:
        body = {"query": [1.0, round_ % 97, 0.0, 1.0], "using": "dense", "limit": 20, "with_payload": True}
        response = own.post(f"{POINTS}/query", json=body).raise_for_status()
        assert all(hit["payload"]["id"] == hit["id"] for hit in response.json()["result"]["points"])

    with ThreadPoolExecutor(5) as threads:
        jobs = [threads.submit(loop, work) for work in (write(1), write(2), write(3), read, read)]
        time.sleep(SECONDS)
        stop.set()
        for job in jobs:
            job.result()

    kept = set(acknowledged) - set(deleted)
    assert http.post(f"{POINTS}/count", json={}).json()["result"]["count"] == len(kept)
    found = http.post(POINTS, json={"ids": sorted(kept), "with_payload": False}).json()["result"]
    assert {record["id"] for record in found} == kept


def test_a_collection_deleted_under_its_readers_answers_not_found_and_nothing_worse(
    http: httpx.Client, url: str
) -> None:
    statuses: list[int] = []
    stop = threading.Event()

    def read() -> None:
        body = {"query": [1.0, 0.0, 0.0, 1.0], "using": "dense", "limit": 50}
        with httpx.Client(base_url=url, timeout=30) as own:
            while not stop.is_set():
                statuses.append(own.post(f"{POINTS}/query", json=body).status_code)
                statuses.append(own.put(POINTS, json={"points": [point(1)]}).status_code)

    config = {"vectors": {"dense": {"size": 4, "distance": "Cosine"}}}
    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(read) for _ in range(4)]
        rounds = 0
        while rounds < 15 or (set(statuses) != {200, 404} and rounds < 500):
            rounds += 1
            assert http.delete("/collections/code").json()["result"] is True
            time.sleep(0.01)
            http.put("/collections/code", json=config).raise_for_status()
            time.sleep(0.02)
        stop.set()
        for job in jobs:
            job.result()
    assert set(statuses) == {200, 404}


def test_a_write_whose_caller_leaves_is_still_done(filled: QdrantClient, url: str) -> None:
    # The time is too short for the answer, not for the request: what reached the queue is written.
    with httpx.Client(base_url=url, timeout=httpx.Timeout(60, read=0.000_001)) as hasty:
        for id_ in range(100, 110):
            try:
                hasty.put(POINTS, json={"points": [point(id_)]})
            except httpx.ReadTimeout:
                continue
    deadline = time.monotonic() + 60
    while filled.count("code").count < 20 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert filled.count("code").count == 20


def test_health_is_answered_while_many_write(http: httpx.Client, url: str) -> None:
    stop = threading.Event()

    def write(writer: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as own:
            while not stop.is_set():
                rows = [point(writer * 1000 + i) for i in range(100)]
                own.put(POINTS, json={"points": rows}).raise_for_status()

    with ThreadPoolExecutor(3) as threads:
        jobs = [threads.submit(write, writer) for writer in range(3)]
        took_s = []
        for _ in range(20):
            began = time.monotonic()
            assert http.get("/healthz").status_code == 200
            took_s.append(time.monotonic() - began)
        stop.set()
        for job in jobs:
            job.result()
    assert statistics.median(took_s) < 1, "a health check must not wait for the queue of writes"
