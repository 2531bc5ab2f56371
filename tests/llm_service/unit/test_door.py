"""The door: so many at a time, first come first served, and no place is lost whatever happens to who waits."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_service.admission.door import BytesBudget, Door
from llm_service.core.envelope import openai_envelope
from service_kit.errors import Overloaded

LONG_S = 60.0


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


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


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
    assert 0.04 < asyncio.get_running_loop().time() - began_s < 1
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


_STEPS = st.lists(
    st.sampled_from(
        ["come", "leave", "cancel", "time", "turn", "leave+cancel", "cancel+leave", "time+cancel", "cancel+time"]
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(places=st.integers(1, 3), queue=st.integers(0, 3), steps=_STEPS, seed=st.integers(0, 2**16))
def test_no_place_is_lost_nor_given_twice_in_any_order_of_events(
    places: int, queue: int, steps: list[str], seed: int
) -> None:
    asyncio.run(_play(Door(places, queue, LONG_S), places, queue, steps, random.Random(seed)))


async def _play(door: Door, places: int, queue: int, steps: list[str], dice: random.Random) -> None:
    """`inside`: who knows of his place. door.in_work counts those too who have one and have not run yet."""
    inside = 0
    most = 0
    tasks: list[asyncio.Task[None]] = []

    async def enter() -> None:
        nonlocal inside, most
        await door.enter()
        inside += 1
        most = max(most, inside)

    def one(step: str) -> None:
        nonlocal inside
        if step == "come":
            tasks.append(asyncio.create_task(enter()))
        elif step == "leave" and inside:
            inside -= 1
            door.leave()
        elif step == "cancel" and tasks:
            dice.choice(tasks).cancel()
        elif step == "time" and door._queue:
            waiter = dice.choice(list(door._queue))
            door._queue[waiter].cancel()
            door._give_up(waiter)

    for step in steps:
        if step == "turn":
            await turns(dice.randint(1, 3))
        for part in step.split("+"):
            one(part)
        assert 0 <= door.in_work <= places
        assert door.waiting <= queue
        assert inside <= door.in_work
    await turns(10)
    assert most <= places
    assert door.in_work == inside  # none lost: whoever has a place knows it
    assert door.waiting == 0 or door.in_work == places  # nobody waits beside a free place
    assert sum(not task.done() for task in tasks) == door.waiting  # nobody waits who is not in the queue
    while inside:
        one("leave")
        await turns(3)
    assert (door.in_work, door.waiting) == (0, 0)
    for task in tasks:
        assert task.done()
        assert task.cancelled() or task.exception() is None or isinstance(task.exception(), Overloaded)


async def test_a_crowd_with_real_timeouts_and_departures_leaves_the_door_as_it_was() -> None:
    dice, door, inside, most = random.Random(7), Door(4, 20, 0.01), 0, 0
    outcomes: dict[str, int] = {}

    async def client() -> None:
        nonlocal inside, most
        await asyncio.sleep(dice.random() * 0.2)
        try:
            await door.enter()
        except Overloaded:
            outcomes["refused"] = outcomes.get("refused", 0) + 1
            return
        inside += 1
        most = max(most, inside)
        try:
            await asyncio.sleep(dice.random() * 0.004)
            outcomes["served"] = outcomes.get("served", 0) + 1
        finally:
            inside -= 1
            door.leave()

    async def impatient() -> None:
        try:
            await asyncio.wait_for(client(), dice.random() * 0.2)
        except TimeoutError:
            outcomes["left"] = outcomes.get("left", 0) + 1

    await asyncio.gather(*(impatient() if number % 3 == 0 else client() for number in range(1_000)))
    assert (door.in_work, door.waiting, inside, most) == (0, 0, 0, 4)
    assert min(outcomes.get(kind, 0) for kind in ("served", "refused", "left")) > 10, outcomes


def test_bodies_are_held_up_to_the_budget() -> None:
    budget = BytesBudget(100)
    first, second = budget.open(), budget.open()
    first.add(60)
    second.add(40)
    with pytest.raises(Overloaded, match="holds 100 bytes of requests, and 1 more would be over 100") as failed:
        second.add(1)
    assert (failed.value.status, failed.value.retry_after_s) == (429, 1)
    assert (budget.held, second.count) == (100, 40)
    first.close()
    second.add(1)
    assert budget.held == 41


def test_a_holding_gives_back_once_and_also_when_it_is_left_by_an_error() -> None:
    budget = BytesBudget(100)
    holding = budget.open()
    with contextlib.suppress(ZeroDivisionError), holding:
        holding.add(70)
        raise ZeroDivisionError
    holding.close()
    assert budget.held == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 50)))))
def test_the_budget_is_the_sum_of_what_is_held_and_never_over_it(steps: list[tuple[int, int | None]]) -> None:
    """A step: of one of five requests, add so many bytes, or close (None)."""
    budget = BytesBudget(100)
    holdings = [budget.open() for _ in range(5)]
    mine = [0] * 5
    for index, count in steps:
        if count is None:
            holdings[index].close()
            mine[index] = 0
        elif sum(mine) + count <= 100:
            holdings[index].add(count)
            mine[index] += count
        else:
            with pytest.raises(Overloaded):
                holdings[index].add(count)
        assert (budget.held, [holding.count for holding in holdings]) == (sum(mine), mine)
    for holding in holdings:
        holding.close()
    assert budget.held == 0
