"""The worker process: what is killed comes back, what hangs is ended, and none is left behind."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from embedding_service.backends.base import Batch, ModelError
from embedding_service.backends.load import LoadedModel
from embedding_service.engine import wire
from embedding_service.engine.base import Done, EngineEnded, Ready
from embedding_service.engine.process import WorkerProcess
from embedding_service.engine.worker import work
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.embedding_service.processes import workers_of
from tests.support.live import live

BULK = [f"def function_{number}(value): return value + {number}\n" * 12 for number in range(60)]


def workers() -> set[int]:
    """The workers of services that run in this process."""
    return workers_of(os.getpid())


@pytest.fixture
def own_service(make_settings: MakeSettings) -> Iterator[tuple[str, int]]:
    """(address, worker's pid) of a service of the test's own, without a cache."""
    before = workers()
    with live(create_app(make_settings(embedding_cache_bytes=0, embedding_threads=2))) as url:
        wait_until_ready(url)
        (pid,) = workers() - before
        yield url, pid
    assert workers() == before


def test_a_worker_killed_in_the_middle_comes_back_and_its_callers_get_their_vectors(
    own_service: tuple[str, int], reference: object
) -> None:
    url, pid = own_service
    with ThreadPoolExecutor(9) as threads:
        bulk = threads.submit(httpx.post, f"{url}/embed", json={"inputs": BULK}, timeout=120)
        time.sleep(0.3)
        assert not bulk.done()
        os.kill(pid, signal.SIGKILL)
        answer = bulk.result()
    wait_until_ready(url)
    assert "embedding_worker_ends_total 1.0" in httpx.get(f"{url}/metrics").text
    assert answer.status_code == 200
    np.testing.assert_allclose(answer.json(), reference(BULK), atol=1e-4)  # type: ignore[operator]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="its metrics are read from /proc: Linux only")
def test_what_the_worker_takes_is_told_beside_what_the_service_takes(own_service: tuple[str, int]) -> None:
    url, pid = own_service

    def told() -> dict[str, float]:
        lines = [line.split() for line in httpx.get(f"{url}/metrics").text.splitlines() if line[0] != "#"]
        return {line[0]: float(line[1]) for line in lines if line[0].startswith("embedding_worker_process_")}

    before = told()
    assert before["embedding_worker_process_resident_memory_bytes"] > 20e6  # the model alone
    httpx.post(f"{url}/embed", json={"inputs": BULK}, timeout=120)
    cpu = "embedding_worker_process_cpu_seconds_total"
    assert told()[cpu] > before[cpu] + 0.1  # 60 texts of 150 tokens take a second
    os.kill(pid, signal.SIGKILL)
    start, deadline = "embedding_worker_process_start_time_seconds", time.monotonic() + 60
    while told().get(start, 0.0) <= before[start]:  # of another process
        assert time.monotonic() < deadline
        time.sleep(0.1)
    wait_until_ready(url)


def test_requests_for_ever_through_three_kills_each_succeed_or_say_why(own_service: tuple[str, int]) -> None:
    url, pid = own_service
    may_end = threading.Event()
    others = workers() - {pid}

    def ask(number: int) -> set[int]:
        statuses = set()
        with httpx.Client(timeout=60) as client:
            while not may_end.is_set():
                statuses.add(client.post(f"{url}/embed", json={"inputs": BULK[number : number + 3]}).status_code)
        return statuses

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask, number) for number in range(4)]
        for _ in range(3):
            time.sleep(0.5)
            (pid,) = workers() - others
            os.kill(pid, signal.SIGKILL)
            while not (workers() - others - {pid}):
                time.sleep(0.05)
            wait_until_ready(url)
        may_end.set()
        statuses = set.union(*(one.result() for one in asking))
    assert statuses <= {200, 424, 503}
    assert 200 in statuses
    assert httpx.post(f"{url}/embed", json={"inputs": "a"}).status_code == 200


async def test_a_model_that_cannot_be_loaded_is_told_across_the_processes(make_settings: MakeSettings) -> None:
    engine = WorkerProcess(make_settings(embedding_model="/no/such/folder"))
    with pytest.raises(ModelError, match="no such folder"):
        await engine.start()
    with pytest.raises(EngineEnded):
        await engine.run("query", "embed", Batch([[101, 102]]))


async def test_what_takes_long_while_loading_is_told_across_the_processes(make_settings: MakeSettings) -> None:
    told: list[str] = []

    def load(_: object, progress: Callable[[str], None]) -> LoadedModel:
        progress("half of it is done")
        raise ModelError("and there it ends")

    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=work, args=(theirs, load))
    thread.start()
    with ours:
        ours.sendall(wire.pack_once(make_settings()))
        for _ in range(2):
            said = wire.receive(ours)
            assert said is not None
            told.append(str(wire.unpack_once(said)))
    assert told == ["half of it is done", "and there it ends"]
    thread.join(60)


async def test_a_worker_that_hangs_is_ended_all_the_same(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedding_service.engine.process._STOP_S", 0.3)
    before = workers()
    engine = WorkerProcess(make_settings())
    await engine.start()
    (pid,) = workers() - before
    os.kill(pid, signal.SIGSTOP)
    asking = asyncio.create_task(engine.run("query", "embed", Batch([[101, 102]])))
    await asyncio.sleep(0.1)
    await engine.stop()
    assert await engine.ended() == "the worker was ended by SIGKILL"
    with pytest.raises(EngineEnded, match="SIGKILL"):
        await asking
    assert workers() == before


async def test_a_worker_that_does_not_answer_is_ended_and_its_callers_are_told(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedding_service.engine.process._HUNG_S", 2.0)
    before = workers()
    engine = WorkerProcess(make_settings())
    await engine.start()
    (pid,) = workers() - before
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(EngineEnded, match=r"did not answer for 2 s"):
        await engine.run("query", "embed", Batch([[101, 102]]))
    assert await asyncio.wait_for(engine.ended(), 60) == "the worker was ended by SIGKILL"


async def test_answers_that_cannot_be_read_end_the_worker_and_nobody_waits_for_ever(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = WorkerProcess(make_settings())
    await engine.start()

    def unpack(_: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr("embedding_service.engine.wire.unpack_answer", unpack)
    with pytest.raises(EngineEnded, match="SIGKILL"):
        await asyncio.wait_for(engine.run("query", "embed", Batch([[101, 102]])), 60)
    await engine.stop()


async def test_a_worker_reads_no_env_file_of_the_folder_it_is_started_in(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("EMBEDDING_THREADS=lots\nEMBEDDING_MODEL=/no/such/folder\n")
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    engine = WorkerProcess(make_settings())
    assert (await engine.start()).spec.name == "sentence-transformers/all-MiniLM-L6-v2"
    await engine.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux chooses by oom_score_adj")
def test_where_memory_runs_out_the_worker_goes_and_not_the_service(own_service: tuple[str, int]) -> None:
    _, pid = own_service
    scores = [int(Path(f"/proc/{one}/oom_score_adj").read_text()) for one in (pid, os.getpid())]
    assert scores[0] >= scores[1] + 500


async def test_stopping_while_it_loads_leaves_no_process(make_settings: MakeSettings) -> None:
    before = workers()
    engine = WorkerProcess(make_settings())
    starting = asyncio.create_task(engine.start())
    while workers() == before:  # noqa: ASYNC110 - a process that starts tells nobody
        await asyncio.sleep(0.01)
    await engine.stop()
    with pytest.raises(EngineEnded, match="while it loaded the model"):
        await starting
    assert workers() == before


def test_a_worker_whose_service_is_killed_ends_too(make_settings: MakeSettings) -> None:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=work, args=(theirs,))
    thread.start()
    with ours:
        ours.sendall(wire.pack_once(make_settings()))
        said = wire.receive(ours)
        assert said is not None
        assert isinstance(wire.unpack_once(said), Ready)
        ours.sendall(wire.pack_request(3, "query", "embed", Batch([[101, 2000, 102]])))
        payload = wire.receive(ours)
        assert payload is not None
        number, outcome = wire.unpack_answer(payload)
        assert (number, isinstance(outcome, Done)) == (3, True)
    thread.join(60)
    assert not thread.is_alive()


def test_a_bug_of_a_library_while_loading_is_told_without_its_text(make_settings: MakeSettings) -> None:
    def load(_: object, __: object) -> LoadedModel:
        raise MemoryError("secret detail")

    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=work, args=(theirs, load))
    thread.start()
    with ours:
        ours.sendall(wire.pack_once(make_settings()))
        said = wire.receive(ours)
    assert said is not None
    failure = wire.unpack_once(said)
    assert isinstance(failure, ModelError)
    assert "MemoryError while loading model" in str(failure)
    assert "secret" not in str(failure)
    thread.join(60)
