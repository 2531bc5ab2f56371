"""One inference at a time, in micro-batches, so that a short query does not wait for a bulk request to end."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embedding_service.backends.base import BackendFailed, Batch, Task, Vectors
from embedding_service.features.embedding.metrics import TeiMetrics

RunBatch = Callable[[Task, Batch], Vectors]


def micro_batches(lengths: Sequence[int], max_tokens: int) -> deque[list[int]]:
    """Indexes into `lengths`, shortest first, grouped so that each group padded to its longest has <= max_tokens.

    A sequence longer than max_tokens gets a group of its own. Sorting first leaves little to pad.
    """
    batches: deque[list[int]] = deque()
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        # Ascending, so the newcomer is the longest of its group.
        if batches and (len(batches[-1]) + 1) * lengths[index] <= max_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


@dataclass(slots=True)
class _Job:
    task: Task
    batch: Batch
    batches: deque[list[int]]
    done: asyncio.Future[Vectors]
    submitted_s: float
    rows: Vectors | None = None
    waited_s: float = 0.0
    inference_s: float = field(default=0.0)

    def part(self, indexes: list[int]) -> Batch:
        """The micro-batch of these sequences."""
        second = None if self.batch.second is None else [self.batch.second[index] for index in indexes]
        return Batch([self.batch.ids[index] for index in indexes], second)

    def places(self, indexes: list[int]) -> Sequence[int] | NDArray[np.intp]:
        """Where the rows of these sequences stand in the whole answer: a row each, or for embed_all one a token."""
        if self.task != "embed_all":
            return indexes
        ends = np.cumsum([len(ids) for ids in self.batch.ids])
        return np.concatenate([np.arange(ends[index] - len(self.batch.ids[index]), ends[index]) for index in indexes])

    @property
    def height(self) -> int:
        """Rows of the whole answer."""
        return sum(map(len, self.batch.ids)) if self.task == "embed_all" else len(self.batch.ids)


@dataclass(frozen=True, slots=True)
class Inferred:
    """rows: as Backend.run gives them, in the order asked for. waited_s: before, inference_s: in all."""

    rows: Vectors
    waited_s: float
    inference_s: float


class Scheduler:
    """Takes turns: a new request goes first, one that has had its micro-batch goes to the end."""

    def __init__(self, run: RunBatch, max_batch_tokens: int, metrics: TeiMetrics):
        """run: is called in a thread of its own, one call at a time. max_batch_tokens: padding included."""
        self._run = run
        self._max_batch_tokens = max_batch_tokens
        self._metrics = metrics
        self._jobs: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._worker: asyncio.Task[None] | None = None

    async def run(self, task: Task, batch: Batch) -> Inferred:
        """Do the task for the whole batch (not empty). Fails with BackendFailed; a cancelled caller stops the rest."""
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="inference")
        lengths = [len(ids) for ids in batch.ids]
        done: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        job = _Job(task, batch, micro_batches(lengths, self._max_batch_tokens), done, time.perf_counter())
        self._jobs.appendleft(job)
        self._metrics.queue_size.inc(len(batch.ids))
        self._wake.set()
        rows = await done
        return Inferred(rows, job.waited_s, job.inference_s)

    async def stop(self) -> None:
        """End the worker; a running inference is waited for, and whoever still waits is cancelled."""
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        for job in self._jobs:
            job.done.cancel()
        self._thread.shutdown()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            if not self._jobs:
                self._wake.clear()
                continue
            job = self._jobs.popleft()
            if job.done.done():  # its caller has left
                self._metrics.queue_size.dec(sum(map(len, job.batches)))
                continue
            await self._step(job)

    async def _step(self, job: _Job) -> None:
        batch = job.batches.popleft()
        self._metrics.queue_size.dec(len(batch))
        started = time.perf_counter()
        if job.rows is None:
            job.waited_s = started - job.submitted_s
        try:
            rows = await self._infer(job.task, job.part(batch))
        except Exception as exc:
            self._metrics.queue_size.dec(sum(map(len, job.batches)))
            if not job.done.done():
                job.done.set_exception(exc)
            return
        except asyncio.CancelledError:
            job.done.cancel()
            raise
        job.inference_s += time.perf_counter() - started
        if job.rows is None:
            job.rows = np.empty((job.height, rows.shape[1]), np.float32)
        job.rows[job.places(batch)] = rows
        if job.batches:
            self._jobs.append(job)
        elif not job.done.done():
            job.done.set_result(job.rows)

    async def _infer(self, task: Task, batch: Batch) -> Vectors:
        self._metrics.batch_size.observe(len(batch.ids))
        self._metrics.batch_tokens.observe(sum(map(len, batch.ids)))
        rows = await asyncio.get_running_loop().run_in_executor(self._thread, self._run, task, batch)
        if not np.isfinite(rows).all():
            raise BackendFailed(f"the model gave vectors that are not finite for a batch of {len(batch.ids)} texts")
        return rows
