"""The door: so many at a time, first come first served, and a place that one leaves goes to the next."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from llm_service.admission.door import Door
from llm_service.core.envelope import openai_envelope
from service_kit.errors import Overloaded
from tests.llm_service.unit.conftest import LONG_S, turns


@asynccontextmanager
async def waiters(
    door: Door, *names: str, order: list[str] | None = None
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Tasks that enter, in this order, and say so in `order`."""

    async def enter(name: str) -> None:
        await door.enter()
        if order is not None:
            order.append(name)

    tasks = {}
    for name in names:
        tasks[name] = asyncio.create_task(enter(name))
        await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def test_a_free_place_is_taken_without_waiting_for_the_loop() -> None:
    door = Door(2, 0, LONG_S)
    for _ in range(2):
        with pytest.raises(StopIteration):  # it ended without giving way once
            door.enter().send(None)
    assert (door.in_work, door.waiting) == (2, 0)


async def test_the_queue_is_served_in_the_order_of_coming() -> None:
    door, order = Door(1, 3, LONG_S), []
    await door.enter()
    async with waiters(door, "a", "b", "c", order=order):
        assert (door.in_work, door.waiting) == (1, 3)
        for left in (2, 1, 0):
            door.leave()
            await turns()
            assert (door.in_work, door.waiting) == (1, left)
    assert order == ["a", "b", "c"]
    door.leave()
    assert (door.in_work, door.waiting) == (0, 0)


async def test_a_newcomer_does_not_overtake_one_whose_place_was_just_given() -> None:
    door, order = Door(1, 1, LONG_S), []
    await door.enter()
    async with waiters(door, "a", order=order):
        door.leave()  # to a, which has not run yet
        async with waiters(door, "b", order=order):
            assert order == ["a"]
            door.leave()
            await turns()
            assert order == ["a", "b"]


async def test_beyond_the_queue_one_is_refused_at_once() -> None:
    door = Door(1, 1, 2.5)
    await door.enter()
    async with waiters(door, "a"):
        with pytest.raises(Overloaded, match="1 requests are in work and 1 wait, as many as may") as failed:
            await door.enter()
        assert (door.in_work, door.waiting) == (1, 1)
    assert (failed.value.status, failed.value.retry_after_s) == (429, 3)
    error = openai_envelope("", failed.value)["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")


async def test_one_waits_so_long_and_no_longer() -> None:
    door = Door(1, 2, 0.05)
    await door.enter()
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(
        Overloaded, match=r"no place became free in 0.05 s: 1 requests are in work and 0 wait"
    ) as failed:
        await door.enter()
    assert 0.04 < asyncio.get_running_loop().time() - began_s < 20
    assert failed.value.retry_after_s == 1
    assert (door.in_work, door.waiting) == (1, 0)
    door.leave()
    await door.enter()


async def test_a_client_that_leaves_the_queue_is_not_waited_for() -> None:
    door, order = Door(1, 3, LONG_S), []
    await door.enter()
    async with waiters(door, "a", "b", "c", order=order) as tasks:
        tasks["b"].cancel()
        await turns()
        assert (door.in_work, door.waiting) == (1, 2)
        for _ in range(2):
            door.leave()
            await turns()
        assert order == ["a", "c"]


@pytest.mark.parametrize("is_cancelled_first", [True, False])
async def test_a_client_that_leaves_as_its_turn_comes_passes_the_place_on(is_cancelled_first: bool) -> None:
    door, order = Door(1, 3, LONG_S), []
    await door.enter()
    async with waiters(door, "a", "b", order=order) as tasks:
        steps = [tasks["a"].cancel, door.leave]
        for step in steps if is_cancelled_first else reversed(steps):
            step()
        await turns()
        assert order == ["b"]
        assert (door.in_work, door.waiting) == (1, 0)
        door.leave()
        assert door.in_work == 0


@pytest.mark.parametrize("is_cancelled_first", [True, False])
async def test_a_client_that_leaves_as_its_time_ends_takes_no_place(
    is_cancelled_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door(1, 3, LONG_S)
    await door.enter()
    async with waiters(door, "a") as tasks:
        (waiter,) = door._queue
        steps = [tasks["a"].cancel, lambda: door._give_up(waiter)]
        for step in steps if is_cancelled_first else reversed(steps):
            step()
        await turns()
        assert (door.in_work, door.waiting) == (1, 0)
    assert caplog.text == ""


async def test_nobody_waits_where_there_is_no_queue() -> None:
    door = Door(1, 0, LONG_S)
    await door.enter()
    with pytest.raises(Overloaded):
        await door.enter()


async def test_a_full_queue_that_leaves_at_once_costs_each_of_them_the_same() -> None:
    """From the middle of a list it would be 10,000 times 5,000 steps."""
    door = Door(1, 10_000, LONG_S)
    await door.enter()
    tasks = [asyncio.create_task(door.enter()) for _ in range(10_000)]
    await turns(1)
    assert door.waiting == 10_000
    for task in reversed(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (door.in_work, door.waiting) == (1, 0)
