"""Micro-batches: how a request is cut up, and that a query does not wait for a bulk request to end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from embedding_service.backends.base import BackendFailed, Batch, Task, TokenIds, Vectors
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.scheduler import Scheduler, micro_batches

EmbedBatch = Callable[[Sequence[TokenIds]], Vectors]
MakeScheduler = Callable[[EmbedBatch, int], Scheduler]


def first_ids(batch: Sequence[TokenIds]) -> Vectors:
    """A model whose vector is the first token id: enough to see who is whose."""
    return np.array([[ids[0]] for ids in batch], np.float32)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def make(registry: CollectorRegistry) -> AsyncIterator[MakeScheduler]:
    made: list[Scheduler] = []

    def scheduler(embed: EmbedBatch, max_batch_tokens: int) -> Scheduler:
        made.append(Scheduler(lambda _, batch: embed(batch.ids), max_batch_tokens, TeiMetrics(registry)))
        return made[-1]

    yield scheduler
    for one in made:
        await one.stop()


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 1_000))
def test_micro_batches_hold_every_text_once_and_stay_under_the_limit(lengths: list[int], limit: int) -> None:
    batches = micro_batches(lengths, limit)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= limit


def test_micro_batches_put_equal_lengths_together() -> None:
    assert list(micro_batches([10, 200, 10, 200], 400)) == [[0, 2], [1, 3]]


async def test_vectors_come_in_the_order_asked_for(make: MakeScheduler) -> None:
    inputs = [[number] * (1 + number % 7) for number in range(50)]
    found = await make(first_ids, 16).run("embed", Batch(inputs))
    assert found.rows[:, 0].tolist() == list(range(50))


async def test_a_query_is_answered_before_the_bulk_request_that_came_first(make: MakeScheduler) -> None:
    order: list[int] = []
    entered, may_go_on = threading.Event(), threading.Event()

    def embed(batch: Sequence[TokenIds]) -> Vectors:
        entered.set()
        assert may_go_on.wait(10)
        order.append(batch[0][0])
        return first_ids(batch)

    scheduler = make(embed, 4)
    bulk = asyncio.create_task(scheduler.run("embed", Batch([[1] * 4] * 5)))
    await asyncio.to_thread(entered.wait, 10)
    query = asyncio.create_task(scheduler.run("embed", Batch([[2]])))
    await asyncio.sleep(0)
    may_go_on.set()
    await asyncio.gather(bulk, query)
    assert order == [1, 2, 1, 1, 1, 1]


async def test_two_bulk_requests_take_turns(make: MakeScheduler) -> None:
    order: list[int] = []

    def embed(batch: Sequence[TokenIds]) -> Vectors:
        order.append(batch[0][0])
        return first_ids(batch)

    scheduler = make(embed, 4)
    await asyncio.gather(scheduler.run("embed", Batch([[1] * 4] * 3)), scheduler.run("embed", Batch([[2] * 4] * 3)))
    assert order in ([1, 2] * 3, [2, 1] * 3)


async def test_a_failure_reaches_its_own_caller_only(make: MakeScheduler, registry: CollectorRegistry) -> None:
    def embed(batch: Sequence[TokenIds]) -> Vectors:
        if batch[0][0] == 13:
            raise BackendFailed("broken")
        return first_ids(batch)

    scheduler = make(embed, 4)
    bad, good = await asyncio.gather(
        scheduler.run("embed", Batch([[13] * 4, [13] * 4])),
        scheduler.run("embed", Batch([[7]])),
        return_exceptions=True,
    )
    assert isinstance(bad, BackendFailed)
    assert not isinstance(good, BaseException)
    assert good.rows.tolist() == [[7.0]]
    assert registry.get_sample_value("te_queue_size") == 0


async def test_vectors_that_are_not_finite_are_a_failure_and_not_an_answer(make: MakeScheduler) -> None:
    scheduler = make(lambda batch: np.full((len(batch), 3), np.nan, np.float32), 4)
    with pytest.raises(BackendFailed, match="not finite"):
        await scheduler.run("embed", Batch([[1]]))


async def test_what_a_cancelled_caller_still_wanted_is_not_computed(
    make: MakeScheduler, registry: CollectorRegistry
) -> None:
    calls = 0
    entered, may_go_on = threading.Event(), threading.Event()

    def embed(batch: Sequence[TokenIds]) -> Vectors:
        nonlocal calls
        calls += 1
        entered.set()
        assert may_go_on.wait(10)
        return first_ids(batch)

    scheduler = make(embed, 4)
    bulk = asyncio.create_task(scheduler.run("embed", Batch([[1] * 4] * 5)))
    await asyncio.to_thread(entered.wait, 10)
    bulk.cancel()
    may_go_on.set()
    await scheduler.run("embed", Batch([[2]]))
    await scheduler.run("embed", Batch([[3]]))
    assert calls == 3  # the one that ran, and the two that were wanted
    assert registry.get_sample_value("te_queue_size") == 0


async def test_stopping_ends_whoever_still_waits(make: MakeScheduler) -> None:
    entered, may_go_on = threading.Event(), threading.Event()

    def embed(batch: Sequence[TokenIds]) -> Vectors:
        entered.set()
        assert may_go_on.wait(10)
        return first_ids(batch)

    scheduler = make(embed, 4)
    running = asyncio.create_task(scheduler.run("embed", Batch([[1]])))
    await asyncio.to_thread(entered.wait, 10)
    waiting = asyncio.create_task(scheduler.run("embed", Batch([[2]])))
    await asyncio.sleep(0)
    may_go_on.set()
    await scheduler.stop()
    ended = await asyncio.gather(running, waiting, return_exceptions=True)
    assert [type(outcome) for outcome in ended] == [asyncio.CancelledError] * 2


async def test_token_vectors_come_back_in_the_order_of_the_texts(registry: CollectorRegistry) -> None:
    """A row a token: of texts of 1 to 4 tokens, which are computed shortest first and two at a time."""
    inputs = [[30, 31, 32, 33], [10], [20, 21], [40, 41, 42]]
    asked: list[tuple[str, int]] = []

    def each_token(task: Task, batch: Batch) -> Vectors:
        asked.append((task, len(batch.ids)))
        return np.array([[id_] for ids in batch.ids for id_ in ids], np.float32)

    scheduler = Scheduler(each_token, 4, TeiMetrics(registry))
    found = await scheduler.run("embed_all", Batch(inputs))
    await scheduler.stop()
    assert found.rows[:, 0].tolist() == [30, 31, 32, 33, 10, 20, 21, 40, 41, 42]
    assert asked == [("embed_all", 2), ("embed_all", 1), ("embed_all", 1)]


async def test_the_second_text_of_a_pair_stays_with_its_pair(registry: CollectorRegistry) -> None:
    def places(task: Task, batch: Batch) -> Vectors:
        assert batch.second is not None
        return np.array(list(zip(map(len, batch.ids), batch.second, strict=True)), np.float32)

    scheduler = Scheduler(places, 4, TeiMetrics(registry))
    found = await scheduler.run("predict", Batch([[1] * 4, [1], [1] * 2, [1] * 3], [3, 1, 1, 2]))
    await scheduler.stop()
    assert found.rows.tolist() == [[4, 3], [1, 1], [2, 1], [3, 2]]
