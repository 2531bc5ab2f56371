"""Which batch runs next. Two lanes: few tokens go to the query lane, all else to the bulk lane, and neither waits."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from embedding_service.backends.base import BackendFailed, Batch, Task, TokenIds, Vectors
from embedding_service.engine.base import Done, Engine, EngineEnded, Lane
from embedding_service.features.embedding.batches import micro_batches
from embedding_service.features.embedding.metrics import TeiMetrics
from service_kit.errors import ServiceError

_log = logging.getLogger("embedding_service.scheduler")

# A request of up to so many tokens is a query: a question has 10 to 40, the chunks of an index 180 on average. One text
# of 128 tokens keeps the query lane for 17 ms.
QUERY_TOKENS = 128

# Queries that wait together run together. From about 200 tokens on a larger batch is no faster a token (8 queries of 12
# tokens take 120 us a token, 16 take 108, 32 take 105, 64 take 109), and all of them wait for its end.
_QUERY_BATCH_TOKENS = 256

# Of thousands that wait, only so many are compared: enough to find some that are alike.
_QUERIES_LOOKED_AT = 256

# A batch that was in work when the engine ended runs once more on the next one: it was hardly its fault, unless it is
# twice.
_TRIES = 2


@dataclass(slots=True, eq=False)
class _Job:
    """One request. batches: what of it waits, as indexes; rows: by sequence, as they come.

    ended_with: the engines that ended while they had a part of it in work.
    """

    task: Task
    batch: Batch
    done: asyncio.Future[list[Vectors]]
    submitted_s: float
    batches: deque[list[int]]
    rows: dict[int, Vectors] = field(default_factory=dict)
    started_s: float | None = None
    inference_s: float = 0.0
    ended_with: set[Engine] = field(default_factory=set)

    @property
    def length(self) -> int:
        """Sequences that wait."""
        return sum(map(len, self.batches))


# What runs together: (request, index of the sequence in it).
_Items = list[tuple[_Job, int]]


@dataclass(frozen=True, slots=True)
class Inferred:
    """rows: for each sequence, in the order asked for, its row, or its rows (tokens, dim) where the task is embed_all.

    waited_s: until its first batch was sent; inference_s: in the model, in all.
    """

    rows: list[Vectors]
    waited_s: float
    inference_s: float


class Scheduler:
    """Feeds an engine. Without one, requests wait for the next; use() and drop() say when there is one."""

    def __init__(self, max_batch_tokens: int, metrics: TeiMetrics):
        """max_batch_tokens: of one batch of the bulk lane, padding included."""
        self._max_batch_tokens = max_batch_tokens
        self._max_query_tokens = min(max_batch_tokens, _QUERY_BATCH_TOKENS)
        self._metrics = metrics
        self._engine: Engine | None = None
        self._threads = 1
        self._places: dict[Lane, int] = {}
        self._waiting: dict[Lane, deque[_Job]] = {"query": deque(), "bulk": deque()}
        self._sent: set[asyncio.Task[None]] = set()

    def use(self, engine: Engine, threads: int) -> None:
        """Run on `engine` from now on. threads: of each of its lanes."""
        self._engine, self._threads = engine, threads
        # One bulk batch more than there are threads, so that none of them waits for the way there and back. A query
        # that cannot run at once waits here instead, where others may join it.
        self._places = {"query": threads, "bulk": threads + 1}
        self._pump("query")
        self._pump("bulk")

    def drop(self, failure: ServiceError | None = None) -> None:
        """The engine has ended. failure: there will be no other soon, so whoever waits gets it."""
        self._engine = None
        if failure is None:
            return
        for lane in self._waiting.values():
            for job in lane:
                self._fail(job, failure)
            lane.clear()

    async def run(self, task: Task, batch: Batch) -> Inferred:
        """Do one task for all sequences (at least one) of a batch.

        Fails with BackendFailed or what drop() was given. A caller that is cancelled drops what is not in work.
        """
        lengths = list(map(len, batch.ids))
        tokens = sum(lengths)
        lane: Lane = "query" if tokens <= QUERY_TOKENS else "bulk"
        # So small that all threads get a part; below the size of a query nothing is gained by it.
        limit = min(self._max_batch_tokens, max(tokens // self._threads, QUERY_TOKENS))
        done: asyncio.Future[list[Vectors]] = asyncio.get_running_loop().create_future()
        job = _Job(task, batch, done, time.perf_counter(), micro_batches(lengths, limit))
        # In turns: each has a batch, and then goes behind all others. A newcomer that went first would be one of many,
        # and of 16 clients with a text each, 11 got nothing for as long as the others asked.
        self._waiting[lane].append(job)
        self._metrics.queue_size.inc(len(lengths))
        self._pump(lane)
        try:
            rows = await done
        finally:
            self._metrics.queue_size.dec(job.length)
            job.batches.clear()
        return Inferred(rows, (job.started_s or job.submitted_s) - job.submitted_s, job.inference_s)

    async def stop(self) -> None:
        """Cancel whoever waits. The engine is stopped by whoever started it."""
        self._engine = None
        for lane in self._waiting.values():
            for job in lane:
                job.done.cancel()
            lane.clear()
        for sent in list(self._sent):
            sent.cancel()
        await asyncio.gather(*self._sent, return_exceptions=True)

    def _pump(self, lane: Lane) -> None:
        waiting = self._waiting[lane]
        while self._engine is not None and self._places[lane] and waiting:
            items = self._next_queries(waiting) if lane == "query" else self._next_of_bulk(waiting)
            if not items:
                continue
            self._places[lane] -= 1
            sent = asyncio.create_task(self._run(self._engine, lane, items), name=f"{lane} batch")
            self._sent.add(sent)
            sent.add_done_callback(self._sent.discard)

    def _next_of_bulk(self, waiting: deque[_Job]) -> _Items:
        job = waiting.popleft()
        if not job.batches:  # its caller has left
            return []
        indexes = job.batches.popleft()
        if job.batches:
            waiting.append(job)
        return [(job, index) for index in indexes]

    def _next_queries(self, waiting: deque[_Job]) -> _Items:
        """The oldest query, and those others that cost less beside it than by themselves."""
        alive = [job for job in waiting if job.batches]
        waiting.clear()
        if not alive:
            return []
        task = alive[0].task
        eligible = [job for job in alive[:_QUERIES_LOOKED_AT] if job.task == task]
        items = [(job, index) for job in eligible for batch in job.batches for index in batch]
        groups = micro_batches([len(job.batch.ids[index]) for job, index in items], self._max_query_tokens)
        (group,) = (group for group in groups if 0 in group)
        chosen = [items[number] for number in group]
        for job, index in chosen:
            job.batches = deque([rest] if (rest := [i for b in job.batches for i in b if i != index]) else [])
        waiting.extend(job for job in alive if job.batches)
        return chosen

    async def _run(self, engine: Engine, lane: Lane, items: _Items) -> None:
        task, batch = items[0][0].task, _batch(items)
        started = time.perf_counter()
        for job, _ in items:
            job.started_s = job.started_s or started
        self._metrics.queue_size.dec(len(items))
        self._metrics.batch_size.observe(len(items))
        self._metrics.batch_tokens.observe(sum(map(len, batch.ids)))
        try:
            done = await engine.run(lane, task, batch)
            _check_finite(done, len(items))
            _deliver(task, items, done)
        except EngineEnded as exc:
            self._again(engine, lane, items, exc)
            return
        except BackendFailed as exc:
            for job in _jobs(items):
                self._fail(job, exc)
        except asyncio.CancelledError:
            for job in _jobs(items):
                job.done.cancel()
            raise
        except Exception:  # a bug of ours, or no memory: whoever waits is told, and the lane goes on
            _log.exception("batch failed", extra={"task": task, "texts": len(items)})
            for job in _jobs(items):
                self._fail(job, BackendFailed("the answer of the worker could not be used; the log has more"))
        if engine is self._engine:
            self._places[lane] += 1
            self._pump(lane)

    def _again(self, engine: Engine, lane: Lane, items: _Items, exc: EngineEnded) -> None:
        """Begin what was in work when the engine ended anew, in front; what was in work twice fails.

        From its first row on: the next engine may run another model, and an answer is of one.
        """
        if self._engine is engine:
            self._engine = None
        for job in _jobs(items):
            if engine in job.ended_with or job.done.done():
                continue
            job.ended_with.add(engine)
            if len(job.ended_with) == _TRIES:
                self._fail(job, BackendFailed(f"{exc} in the middle of this request, {_TRIES} times"))
                continue
            self._metrics.queue_size.inc(len(job.batch.ids) - job.length)
            job.rows.clear()
            job.batches = micro_batches(list(map(len, job.batch.ids)), self._max_batch_tokens)
            if job not in self._waiting[lane]:
                self._waiting[lane].appendleft(job)

    def _fail(self, job: _Job, failure: ServiceError) -> None:
        if not job.done.done():
            job.done.set_exception(failure)


def _jobs(items: _Items) -> list[_Job]:
    return list(dict.fromkeys(job for job, _ in items))


def _batch(items: _Items) -> Batch:
    """Of one request, or of several that are all pairs or all single texts: a task has one of the two."""
    ids: list[TokenIds] = [job.batch.ids[index] for job, index in items]
    if items[0][0].batch.second is None:
        return Batch(ids)
    return Batch(ids, [job.batch.second[index] for job, index in items if job.batch.second is not None])


def _deliver(task: Task, items: _Items, done: Done) -> None:
    if task == "embed_all":
        ends = np.cumsum([len(job.batch.ids[index]) for job, index in items])
        rows: Sequence[Vectors] = np.split(done.rows, ends[:-1])
    else:
        rows = list(done.rows)
    for (job, index), row in zip(items, rows, strict=True):
        job.rows[index] = row
    for job in _jobs(items):
        job.inference_s += done.run_s
        if len(job.rows) == len(job.batch.ids) and not job.done.done():
            job.done.set_result([job.rows[index] for index in range(len(job.rows))])


def _check_finite(done: Done, count: int) -> None:
    if not np.isfinite(done.rows).all():
        raise BackendFailed(f"the model gave vectors that are not finite for a batch of {count} texts")
