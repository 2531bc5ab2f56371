"""Which batch runs next: queries beside bulk, bulk requests in turns, and what happens when the engine ends."""

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from embedding_service.backends.base import BackendFailed, Batch, Task
from embedding_service.engine.base import Done, EngineEnded, Lane, Ready
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.scheduler import QUERY_TOKENS, Scheduler
from service_kit.errors import Unavailable

LONG = QUERY_TOKENS + 1


class Engine:
    """Answers when it is told to; a row is the first token id, enough to see who is whose."""

    def __init__(self, is_held: bool = False):
        self.sent: list[tuple[Lane, list[int]]] = []
        self.may_answer = asyncio.Event()
        self.is_dead = False
        self.value: float | None = None
        self.failure: Exception | None = None
        self.surplus = 0
        if not is_held:
            self.may_answer.set()

    async def run(self, lane: Lane, task: Task, batch: Batch) -> Done:
        if not self.is_dead:
            self.sent.append((lane, [ids[0] for ids in batch.ids]))
            await self.may_answer.wait()
        if self.is_dead:
            raise EngineEnded("the worker was ended by SIGKILL")
        if self.failure is not None:
            raise self.failure
        if any(ids[0] == 999 for ids in batch.ids):
            raise BackendFailed("broken")
        rows = [[ids[0]] for ids in batch.ids]
        if task == "embed_all":
            rows = [[token] for ids in batch.ids for token in ids]
        if self.value is not None:
            rows = [[self.value] for _ in rows]  # type: ignore[list-item]
        rows = [*rows, *rows[: self.surplus]]
        return Done(np.array(rows, np.float32), 0.001)

    def die(self) -> None:
        self.is_dead = True
        self.may_answer.set()

    async def start(self, progress: Callable[[str], None]) -> Ready:
        raise AssertionError

    async def ended(self) -> str:
        raise AssertionError

    async def stop(self) -> None:
        raise AssertionError


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def scheduler(registry: CollectorRegistry) -> AsyncIterator[Scheduler]:
    one = Scheduler(512, TeiMetrics(registry))
    yield one
    await one.stop()


def bulk(first: int, count: int) -> Batch:
    return Batch([[first, *[1] * (LONG - 1)]] * count)


async def values(scheduler: Scheduler, batch: Batch, task: Task = "embed") -> list[float]:
    return [float(row[0]) for row in (await scheduler.run(task, batch)).rows]


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_rows_come_in_the_order_asked_for_whatever_the_batches(scheduler: Scheduler) -> None:
    scheduler.use(Engine(), threads=2)
    inputs = [[number] * (1 + number % 70) for number in range(50)]
    assert await values(scheduler, Batch(inputs)) == list(range(50))


async def test_a_query_does_not_wait_for_a_bulk_request(scheduler: Scheduler) -> None:
    engine = Engine(is_held=True)
    scheduler.use(engine, threads=2)
    bulks = asyncio.create_task(scheduler.run("embed", bulk(5, 40)))
    await turns()
    query = asyncio.create_task(scheduler.run("embed", Batch([[2, 3]])))
    await turns()
    # Of the bulk as much as it has threads and one more; the query beside it.
    assert [lane for lane, _ in engine.sent] == ["bulk", "bulk", "bulk", "query"]
    engine.may_answer.set()
    await asyncio.gather(bulks, query)


async def test_queries_that_wait_together_run_together_if_they_are_alike(scheduler: Scheduler) -> None:
    engine = Engine(is_held=True)
    scheduler.use(engine, threads=1)
    lengths = [9, 10, 60, 10, 11, 10]
    running = [asyncio.create_task(values(scheduler, Batch([[n] * length]))) for n, length in enumerate(lengths)]
    await turns()
    engine.may_answer.set()
    assert await asyncio.gather(*running) == [[float(n)] for n in range(6)]
    # The first came alone; then the oldest with its like, and the long one by itself.
    assert engine.sent == [("query", [0]), ("query", [1, 3, 5, 4]), ("query", [2])]


async def test_bulk_requests_take_turns(scheduler: Scheduler) -> None:
    engine = Engine(is_held=True)
    scheduler.use(engine, threads=1)
    running = [asyncio.create_task(scheduler.run("embed", bulk(number, 12))) for number in (1, 2)]
    await turns()
    engine.may_answer.set()
    await asyncio.gather(*running)
    # Two were sent while there was nobody else, and the third was next; from then on they take turns.
    assert [firsts[0] for _, firsts in engine.sent] == [1, 1, 1, 2, 1, 2, 2, 2]


async def test_a_newcomer_does_not_go_before_those_who_wait(scheduler: Scheduler) -> None:
    engine = Engine(is_held=True)
    scheduler.use(engine, threads=1)
    running = [asyncio.create_task(scheduler.run("embed", bulk(number, 1))) for number in range(1, 9)]
    await turns()
    engine.may_answer.set()
    await asyncio.gather(*running)
    assert [firsts[0] for _, firsts in engine.sent] == list(range(1, 9))


@pytest.mark.parametrize("failure", [MemoryError(), ValueError("no such answer"), BrokenPipeError()])
async def test_an_engine_that_fails_as_none_should_fails_its_callers_and_not_the_lane(
    scheduler: Scheduler, failure: Exception
) -> None:
    engine = Engine()
    engine.failure = failure
    scheduler.use(engine, threads=1)
    for _ in range(3):
        with pytest.raises(BackendFailed, match="could not be used"):
            await scheduler.run("embed", Batch([[1]]))
    engine.failure = None
    assert await values(scheduler, Batch([[7]])) == [7.0]


@pytest.mark.parametrize("inputs", [Batch([[1]]), bulk(1, 3)])
async def test_an_answer_of_too_many_rows_fails_its_caller_and_not_the_lane(
    scheduler: Scheduler, inputs: Batch
) -> None:
    engine = Engine()
    engine.surplus = 1
    scheduler.use(engine, threads=1)
    with pytest.raises(BackendFailed, match="could not be used"):
        await scheduler.run("embed", inputs)
    engine.surplus = 0
    assert await values(scheduler, inputs) == [1.0] * len(inputs.ids)


async def test_the_limit_of_a_batch_holds_for_queries_too(registry: CollectorRegistry) -> None:
    scheduler, engine = Scheduler(16, TeiMetrics(registry)), Engine(is_held=True)
    scheduler.use(engine, threads=1)
    running = [asyncio.create_task(values(scheduler, Batch([[number] * 5]))) for number in range(9)]
    await turns()
    engine.may_answer.set()
    await asyncio.gather(*running)
    assert max(len(firsts) for _, firsts in engine.sent) == 3
    await scheduler.stop()


async def test_an_answer_is_of_one_engine_and_never_of_two(scheduler: Scheduler, registry: CollectorRegistry) -> None:
    first, second = Engine(is_held=True), Engine()
    first.value, second.value = 1, 2
    scheduler.use(first, threads=1)
    running = asyncio.create_task(values(scheduler, bulk(5, 12)))
    await turns()
    first.may_answer.set()  # what was sent is answered, what is sent next is not
    first.may_answer.clear()
    await turns()
    assert len(first.sent) == 4
    first.die()
    await turns()
    scheduler.drop()
    scheduler.use(second, threads=1)
    assert await running == [2.0] * 12
    assert registry.get_sample_value("te_queue_size") == 0


async def test_a_small_bulk_is_spread_over_all_threads(scheduler: Scheduler) -> None:
    engine = Engine()
    scheduler.use(engine, threads=2)
    await scheduler.run("embed", bulk(1, 2))
    assert [len(firsts) for _, firsts in engine.sent] == [1, 1]


async def test_the_vectors_of_all_tokens_go_to_their_own_text(scheduler: Scheduler) -> None:
    scheduler.use(Engine(), threads=1)
    found = await scheduler.run("embed_all", Batch([[1, 2, 3], [4], [5, 6]]))
    assert [rows[:, 0].tolist() for rows in found.rows] == [[1, 2, 3], [4], [5, 6]]


async def test_a_failure_reaches_its_own_caller_only(scheduler: Scheduler, registry: CollectorRegistry) -> None:
    scheduler.use(Engine(), threads=1)
    bad, good = await asyncio.gather(
        scheduler.run("embed", bulk(999, 9)), values(scheduler, Batch([[7]])), return_exceptions=True
    )
    assert isinstance(bad, BackendFailed)
    assert good == [7.0]
    assert registry.get_sample_value("te_queue_size") == 0


async def test_rows_that_are_not_finite_are_a_failure_and_not_an_answer(scheduler: Scheduler) -> None:
    engine = Engine()
    engine.value = np.nan
    scheduler.use(engine, threads=1)
    with pytest.raises(BackendFailed, match="not finite"):
        await scheduler.run("embed", Batch([[1]]))


async def test_what_a_cancelled_caller_still_wanted_is_not_computed(
    scheduler: Scheduler, registry: CollectorRegistry
) -> None:
    engine = Engine(is_held=True)
    scheduler.use(engine, threads=1)
    leaving = asyncio.create_task(scheduler.run("embed", bulk(1, 40)))
    queries = [asyncio.create_task(scheduler.run("embed", Batch([[number, 0]]))) for number in (2, 3)]
    await turns()
    leaving.cancel()
    queries[1].cancel()
    await turns()
    engine.may_answer.set()
    await values(scheduler, bulk(4, 1))
    assert [firsts[0] for _, firsts in engine.sent] == [1, 1, 2, 4]  # what was sent before they left, and what stayed
    assert registry.get_sample_value("te_queue_size") == 0


async def test_what_was_in_work_when_the_engine_ended_runs_on_the_next_one(
    scheduler: Scheduler, registry: CollectorRegistry
) -> None:
    first, second = Engine(is_held=True), Engine()
    scheduler.use(first, threads=2)
    running = [
        asyncio.create_task(values(scheduler, bulk(5, 12))),
        asyncio.create_task(values(scheduler, Batch([[7]]))),
    ]
    await turns()
    first.die()
    await turns()
    scheduler.drop()
    scheduler.use(second, threads=2)
    assert await asyncio.gather(*running) == [[5.0] * 12, [7.0]]
    assert registry.get_sample_value("te_queue_size") == 0


async def test_a_batch_that_ends_two_engines_fails_and_is_not_tried_on_a_third(scheduler: Scheduler) -> None:
    running = asyncio.create_task(scheduler.run("embed", bulk(5, 12)))
    for _ in range(2):
        engine = Engine(is_held=True)
        scheduler.use(engine, threads=2)
        await turns()
        engine.die()
        await turns()
        scheduler.drop()
    with pytest.raises(BackendFailed, match="SIGKILL in the middle of this request, 2 times"):
        await running
    third = Engine()
    scheduler.use(third, threads=2)
    assert await values(scheduler, Batch([[8]])) == [8.0]
    assert third.sent == [("query", [8])]


async def test_where_no_engine_will_come_whoever_waits_is_told(scheduler: Scheduler) -> None:
    waiting = asyncio.create_task(scheduler.run("embed", Batch([[1]])))
    await turns()
    scheduler.drop(Unavailable("the disk is gone", retry_after_s=30))
    with pytest.raises(Unavailable, match="disk is gone"):
        await waiting


async def test_stopping_ends_whoever_still_waits(scheduler: Scheduler) -> None:
    scheduler.use(Engine(is_held=True), threads=1)
    running = asyncio.create_task(scheduler.run("embed", Batch([[1]])))
    await turns()
    waiting = asyncio.create_task(scheduler.run("embed", Batch([[2]])))
    await turns()
    await scheduler.stop()
    ended = await asyncio.gather(running, waiting, return_exceptions=True)
    assert [type(outcome) for outcome in ended] == [asyncio.CancelledError] * 2
