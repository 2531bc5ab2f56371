"""The writer acknowledges after the flush, keeps the order, and outlives what fails."""

import threading

import pytest

from service_kit.errors import NotFound, Unavailable
from vector_db.engine.writer import Writer


class Disk:
    """What was applied and what is durable."""

    def __init__(self) -> None:
        self.applied: list[int] = []
        self.durable: list[int] = []
        self.flushes = 0
        self.failure: Exception | None = None

    def flush(self) -> None:
        self.flushes += 1
        if self.failure is not None:
            raise self.failure
        self.durable = list(self.applied)


def test_a_write_is_acknowledged_only_when_it_is_durable() -> None:
    disk, writer = Disk(), Writer()
    writer.start()
    writer.submit(lambda: disk.applied.append(1), disk).result(5)
    assert disk.durable == [1]
    writer.stop()


def test_writes_that_wait_together_share_one_flush_and_keep_their_order() -> None:
    disk, writer, gate = Disk(), Writer(), threading.Event()
    blocked = writer.submit(gate.wait)
    writer.start()
    futures = [writer.submit(lambda i=i: disk.applied.append(i), disk) for i in range(20)]  # type: ignore[misc]
    gate.set()
    for future in [blocked, *futures]:
        future.result(5)
    assert disk.durable == list(range(20))
    assert disk.flushes <= 2
    writer.stop()


def test_a_failing_write_fails_alone() -> None:
    disk, writer = Disk(), Writer()

    def fail() -> None:
        raise NotFound("gone")

    failed, done = writer.submit(fail, disk), writer.submit(lambda: disk.applied.append(1), disk)
    writer.start()
    with pytest.raises(NotFound, match="gone"):
        failed.result(5)
    done.result(5)
    assert disk.durable == [1]
    writer.stop()


@pytest.mark.parametrize("failure", [OSError("disk full"), NotFound("deleted meanwhile")])
def test_a_flush_that_fails_is_no_acknowledgement(failure: Exception) -> None:
    disk, other, writer = Disk(), Disk(), Writer()
    disk.failure = failure
    lost, kept = writer.submit(lambda: None, disk), writer.submit(lambda: other.applied.append(1), other)
    writer.start()
    with pytest.raises(type(failure), match=str(failure)):
        lost.result(5)
    kept.result(5)
    assert other.durable == [1]
    writer.stop()


def test_a_write_that_was_cancelled_before_its_turn_is_not_done() -> None:
    disk, writer = Disk(), Writer()
    future = writer.submit(lambda: disk.applied.append(1), disk)
    assert future.cancel()
    writer.start()
    writer.submit(lambda: disk.applied.append(2), disk).result(5)
    assert disk.durable == [2]
    writer.stop()


def test_stopping_finishes_what_is_queued_and_refuses_what_comes_later() -> None:
    disk, writer = Disk(), Writer()
    futures = [writer.submit(lambda i=i: disk.applied.append(i), disk) for i in range(200)]  # type: ignore[misc]
    writer.start()
    writer.stop()
    assert all(future.done() for future in futures)
    assert disk.durable == list(range(200))
    with pytest.raises(Unavailable):
        writer.submit(lambda: None)
    Writer().stop()  # one that never started ends at once
