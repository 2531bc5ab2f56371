"""One inference at a time, in micro-batches, so that a short query does not wait for a bulk request to end."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from embedding_service.backends.base import BackendFailed, TokenIds, Vectors
from embedding_service.features.embedding.metrics import TeiMetrics

EmbedBatch = Callable[[Sequence[TokenIds]], Vectors]


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
    inputs: Sequence[TokenIds]
    batches: deque[list[int]]
    done: asyncio.Future[Vectors]
    submitted_s: float
    vectors: Vectors | None = None
    waited_s: float = 0.0
    inference_s: float = field(default=0.0)


@dataclass(frozen=True, slots=True)
class Inferred:
    """vectors: (n, dim) float32 in the order asked for. waited_s: until the first micro-batch; inference_s: in all."""

    vectors: Vectors
    waited_s: float
    inference_s: float


class Scheduler:
    """Takes turns: a new request goes first, one that has had its micro-batch goes to the end."""

    def __init__(self, embed: EmbedBatch, max_batch_tokens: int, metrics: TeiMetrics):
        """embed: runs in a thread of its own, one call at a time. max_batch_tokens: padding included."""
        self._embed = embed
        self._max_batch_tokens = max_batch_tokens
        self._metrics = metrics
        self._jobs: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._worker: asyncio.Task[None] | None = None

    async def run(self, inputs: Sequence[TokenIds]) -> Inferred:
        """Embed all inputs (at least one). Fails with BackendFailed; a caller that is cancelled stops the rest."""
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="inference")
        lengths = [len(ids) for ids in inputs]
        done: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        job = _Job(inputs, micro_batches(lengths, self._max_batch_tokens), done, time.perf_counter())
        self._jobs.appendleft(job)
        self._metrics.queue_size.inc(len(inputs))
        self._wake.set()
        vectors = await done
        return Inferred(vectors, job.waited_s, job.inference_s)

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
        if job.vectors is None:
            job.waited_s = started - job.submitted_s
        try:
            vectors = await self._infer([job.inputs[index] for index in batch])
        except Exception as exc:
            self._metrics.queue_size.dec(sum(map(len, job.batches)))
            if not job.done.done():
                job.done.set_exception(exc)
            return
        except asyncio.CancelledError:
            job.done.cancel()
            raise
        job.inference_s += time.perf_counter() - started
        if job.vectors is None:
            job.vectors = np.empty((len(job.inputs), vectors.shape[1]), np.float32)
        job.vectors[batch] = vectors
        if job.batches:
            self._jobs.append(job)
        elif not job.done.done():
            job.done.set_result(job.vectors)

    async def _infer(self, batch: list[TokenIds]) -> Vectors:
        self._metrics.batch_size.observe(len(batch))
        self._metrics.batch_tokens.observe(sum(map(len, batch)))
        vectors = await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, batch)
        if not np.isfinite(vectors).all():
            raise BackendFailed(f"the model gave vectors that are not finite for a batch of {len(batch)} texts")
        return vectors
