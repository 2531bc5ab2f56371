"""The threads over a backend: side by side, of their own priority, and alive after a failure."""

import os
import queue
import sys
import threading

import numpy as np
import pytest

from embedding_service.backends.base import BackendFailed, Batch, Task, Vectors
from embedding_service.engine.base import Done
from embedding_service.engine.lanes import LaneThreads

Outcomes = queue.SimpleQueue  # of Done | BackendFailed


class Backend:
    """Tells the niceness of the thread that runs it, and fails where it is told to."""

    name, dim = "toy", 1
    tasks: frozenset[Task] = frozenset({"embed"})

    def __init__(self) -> None:
        self.meeting = threading.Barrier(3)

    def run(self, task: Task, batch: Batch) -> Vectors:
        what = batch.ids[0][0]
        if what == 13:
            raise BackendFailed("broken")
        if what == 14:
            raise MemoryError("of 4 GB at 0x7f")
        if what == 15:
            self.meeting.wait(20)
        return np.array([[os.getpriority(os.PRIO_PROCESS, threading.get_native_id())]], np.float32)


@pytest.fixture
def outcomes() -> "Outcomes[Done | BackendFailed]":
    return queue.SimpleQueue()


def test_the_query_lane_does_not_wait_for_a_bulk_lane_that_is_full(
    outcomes: "Outcomes[Done | BackendFailed]",
) -> None:
    lanes = LaneThreads(Backend(), 2)
    lanes.submit("bulk", "embed", Batch([[15]]), outcomes.put)
    lanes.submit("bulk", "embed", Batch([[15]]), outcomes.put)
    lanes.submit("query", "embed", Batch([[15]]), outcomes.put)  # the third party: none of them goes on before
    assert [isinstance(outcomes.get(timeout=20), Done) for _ in range(3)] == [True] * 3
    lanes.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is of a thread on Linux only")
def test_bulk_threads_give_way_and_query_threads_do_not(outcomes: "Outcomes[Done | BackendFailed]") -> None:
    lanes = LaneThreads(Backend(), 1)
    found = []
    for lane in ("bulk", "query"):
        lanes.submit(lane, "embed", Batch([[1]]), outcomes.put)  # type: ignore[arg-type]
        outcome = outcomes.get(timeout=20)
        assert isinstance(outcome, Done)
        found.append(outcome.rows[0, 0])
    lanes.stop()
    assert found == [19, os.getpriority(os.PRIO_PROCESS, 0)]


def test_a_failure_is_an_answer_and_the_next_batch_runs(outcomes: "Outcomes[Done | BackendFailed]") -> None:
    lanes = LaneThreads(Backend(), 1)
    for what in (13, 14, 1):
        lanes.submit("bulk", "embed", Batch([[what]]), outcomes.put)
    broken, bug, fine = (outcomes.get(timeout=20) for _ in range(3))
    assert isinstance(broken, BackendFailed)
    assert broken.message == "broken"
    assert isinstance(bug, BackendFailed)
    assert bug.message == "MemoryError while running embed on 1 texts"  # its own text may tell what is nobody's
    assert isinstance(fine, Done)
    lanes.stop()


def test_an_answer_that_cannot_be_given_becomes_a_failure_and_the_lane_goes_on(
    outcomes: "Outcomes[Done | BackendFailed]",
) -> None:
    def scarce(outcome: Done | BackendFailed) -> None:
        if isinstance(outcome, Done):
            raise MemoryError
        outcomes.put(outcome)

    lanes = LaneThreads(Backend(), 1)
    lanes.submit("query", "embed", Batch([[1]]), scarce)
    failure = outcomes.get(timeout=20)
    assert isinstance(failure, BackendFailed)
    assert failure.message == "MemoryError while answering embed on 1 texts"
    lanes.submit("query", "embed", Batch([[1]]), outcomes.put)
    assert isinstance(outcomes.get(timeout=20), Done)
    lanes.stop()
