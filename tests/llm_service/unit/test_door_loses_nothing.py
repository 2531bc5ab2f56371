"""Whatever happens at the door and in whatever order: no place is lost or given twice, and no byte of the budget."""

import asyncio
import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_service.admission.door import BytesBudget, Door
from service_kit.errors import Overloaded
from tests.llm_service.unit.conftest import LONG_S, turns

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


# --- the budget of bodies -----------------------------------------------------------------------------------------


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
