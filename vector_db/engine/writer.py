"""The one thread that changes anything. What waits together is flushed together, and only then acknowledged."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from service_kit.errors import ServiceError, Unavailable

_log = logging.getLogger("vector_db.writer")

# A flush takes about 4 ms however much it writes; a group of 64 shares one, and no writer waits for more than that.
MAX_GROUP = 64


class Flushable(Protocol):
    """A collection, as far as the writer knows it."""

    def flush(self) -> None:
        """Make everything applied so far durable."""
        ...


@dataclass(frozen=True, slots=True)
class _Job:
    action: Callable[[], Any]
    target: Flushable | None
    done: "Future[Any]" = field(default_factory=Future)


class Writer:
    """Runs actions one after another, in the order of submission."""

    def __init__(self) -> None:
        """Starts nothing; see start()."""
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._gate = threading.Lock()  # so that no job enters behind the end mark and waits for ever

    def start(self) -> None:
        """Begin to work."""
        self._thread = threading.Thread(target=self._run, name="vector_db-writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, then end."""
        with self._gate:
            self._is_closed = True
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Actions that are queued and not begun."""
        return self._queue.qsize()

    def submit(self, action: Callable[[], Any], target: Flushable | None = None) -> "Future[Any]":
        """Queue `action`; its future resolves after `target` is flushed. Fails with Unavailable after stop()."""
        with self._gate:
            if self._is_closed:
                raise Unavailable("vector_db is shutting down", retry_after_s=1)
            job = _Job(action, target)
            self._queue.put(job)
        return job.done

    def _run(self) -> None:
        while True:
            group, is_last = self._next_group()
            self._commit(group)
            if is_last:
                return

    def _next_group(self) -> tuple[list[_Job], bool]:
        group: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            group.append(job)
            if len(group) == MAX_GROUP or self._queue.empty():
                return group, False
            job = self._queue.get()
        return group, True

    def _commit(self, group: Sequence[_Job]) -> None:
        applied: list[tuple[_Job, Any]] = []
        for job in group:
            if not job.done.set_running_or_notify_cancel():
                continue
            try:
                applied.append((job, job.action()))
            except Exception as exc:
                job.done.set_exception(exc)
        failures = self._flush({id(job.target): job.target for job, _ in applied if job.target is not None})
        for job, result in applied:
            failure = failures.get(id(job.target))
            if failure is None:
                job.done.set_result(result)
            else:
                job.done.set_exception(failure)

    def _flush(self, targets: dict[int, Flushable]) -> dict[int, Exception]:
        failures: dict[int, Exception] = {}
        for key, target in targets.items():
            try:
                target.flush()
            except ServiceError as exc:  # the collection was deleted in the same group
                failures[key] = exc
            except Exception as exc:
                _log.exception("flush failed")
                failures[key] = exc
        return failures
