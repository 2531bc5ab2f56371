"""The threads that run a backend: some for queries, and as many of low priority for all else.

Each runs its batch by itself (a backend computes with one thread a call), so that no batch waits for another's threads,
and the operating system can tell a query from a bulk.
"""

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable

from embedding_service.backends.base import Backend, BackendFailed, Batch, Task
from embedding_service.engine.base import Done, Lane

# Called in a lane's thread, with what came of a batch.
Answer = Callable[[Done | BackendFailed], None]

_Work = tuple[Task, Batch, Answer]

# Of 0 to 19. A thread that is niced by 19 gets 1.5 % of a core that an ordinary one wants as well: while a query runs
# it runs alone, and nothing is lost to the bulk where there is no query.
_BULK_NICE = 19


class LaneThreads:
    """Runs batches of a backend, each lane in its own order. Daemon threads: they end with the process or by stop()."""

    def __init__(self, backend: Backend, threads: int):
        """threads: of each lane, and so batches of it that run at the same time; at least 1."""
        self._backend = backend
        self._queues: dict[Lane, queue.SimpleQueue[_Work | None]] = {
            "query": queue.SimpleQueue(),
            "bulk": queue.SimpleQueue(),
        }
        self._threads = [self._thread("query", 0) for _ in range(threads)]
        self._threads += [self._thread("bulk", _BULK_NICE) for _ in range(threads)]

    def submit(self, lane: Lane, task: Task, batch: Batch, answer: Answer) -> None:
        """Run a batch; `answer` gets its rows, or the failure, in the thread that ran it."""
        self._queues[lane].put((task, batch, answer))

    def stop(self) -> None:
        """Wait for what runs and for what was submitted, then end the threads."""
        for thread in self._threads:
            self._queues["query" if thread.name == "query" else "bulk"].put(None)
        for thread in self._threads:
            thread.join()

    def _thread(self, lane: Lane, nice: int) -> threading.Thread:
        thread = threading.Thread(target=self._work, args=(self._queues[lane], nice), name=lane, daemon=True)
        thread.start()
        return thread

    def _work(self, waiting: "queue.SimpleQueue[_Work | None]", nice: int) -> None:
        _lower_priority(nice)
        while (work := waiting.get()) is not None:
            task, batch, answer = work
            outcome = self._run(task, batch)
            try:
                answer(outcome)
            except OSError:  # nobody listens any more
                return
            except Exception as exc:  # no memory for the answer: whoever waits for it is told at least that
                answer(BackendFailed(f"{type(exc).__name__} while answering {task} on {len(batch.ids)} texts"))
            del work, task, batch, answer, outcome  # what is big must not stay until the next batch comes

    def _run(self, task: Task, batch: Batch) -> Done | BackendFailed:
        started = time.perf_counter()
        try:
            rows = self._backend.run(task, batch)
        except BackendFailed as exc:
            return exc
        except Exception as exc:  # a library's bug, or no memory: this batch is lost, the next one may be well
            return BackendFailed(f"{type(exc).__name__} while running {task} on {len(batch.ids)} texts")
        return Done(rows, time.perf_counter() - started)


def _lower_priority(nice: int) -> None:
    # Linux counts niceness by thread; elsewhere it would be the whole process's, queries included.
    if nice and sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
