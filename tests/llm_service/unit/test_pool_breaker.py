"""Backends that fail again and again: when a pool lets them alone, who tries them anew, and what callers are told."""

import asyncio
from collections import Counter

import pytest

from llm_service.providers.base import Call, Fault
from llm_service.providers.breaker import FAILURES_TO_OPEN, OPEN_S, State
from llm_service.providers.pool import Pool
from service_kit.errors import DeadlineExceeded, Unavailable, Upstream
from tests.support.backends import (
    Clock,
    MemoryBackend,
    WholeAnswer,
    ask,
    down,
    failure,
    in_flight,
    late,
    place,
    pool_of,
    state,
)


async def hang(call: Call) -> WholeAnswer:
    await asyncio.sleep(3600)
    raise AssertionError("nobody waits so long")


async def open_breaker(pool: Pool, backend: MemoryBackend) -> None:
    backend.deeds = [down()]
    while backend.asked < FAILURES_TO_OPEN:
        await ask(pool)


async def test_after_five_failures_a_backend_is_asked_no_more_while_another_is_there(
    a: MemoryBackend, b: MemoryBackend
) -> None:
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}), clock=Clock())
    a.deeds = [down()]
    assert {await ask(pool) for _ in range(50)} == {"b"}
    assert (a.asked, state(pool, "a")) == (5, State.OPEN)


async def test_a_sole_backend_that_is_down_is_told_at_once_and_with_a_time(a: MemoryBackend) -> None:
    clock = Clock()
    pool = pool_of(a, max_retries=0, clock=clock)
    a.deeds = [down("it is down")]
    for _ in range(5):
        assert (await failure(pool)).message == "it is down"
    told = await failure(pool)
    assert isinstance(told, Unavailable)
    assert (told.message, told.retry_after_s) == ("it is down; it is asked again in 1 s", 1)
    assert a.asked == 5


async def test_whoever_sees_the_fifth_failure_hears_of_it_without_a_pause(a: MemoryBackend) -> None:
    clock, retried = Clock(), list[tuple[str, Fault]]()
    pool = pool_of(a, max_retries=0, clock=clock)
    a.deeds = [down(str(number)) for number in range(6)]
    for _ in range(4):
        await failure(pool)
    again = pool_of(a, retried=retried)
    again.members[0].breaker = pool.members[0].breaker
    assert (await failure(again)).message == "4"
    assert retried == []  # no retry is counted, since none could follow


async def test_half_open_one_probe_goes_in_however_many_come_and_the_others_are_served_elsewhere(
    a: MemoryBackend, b: MemoryBackend
) -> None:
    clock, gate = Clock(), asyncio.Event()
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}), clock=clock)
    await open_breaker(pool, a)

    async def answer_late(call: Call) -> WholeAnswer:
        await gate.wait()
        return WholeAnswer()

    a.deeds = [answer_late]
    clock.passes(OPEN_S)
    asking = [asyncio.create_task(ask(pool)) for _ in range(50)]
    await asyncio.sleep(0.05)
    assert (a.asked, state(pool, "a")) == (6, State.HALF_OPEN)
    gate.set()
    assert Counter(await asyncio.gather(*asking)) == {"a": 1, "b": 49}
    assert state(pool, "a") is State.CLOSED
    assert await ask(pool) == "a"


async def test_a_failed_probe_is_served_elsewhere_and_nobody_follows_it(a: MemoryBackend, b: MemoryBackend) -> None:
    clock = Clock()
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}), clock=clock)
    await open_breaker(pool, a)
    clock.passes(OPEN_S)
    assert await asyncio.gather(*(ask(pool) for _ in range(20))) == ["b"] * 20
    assert (a.asked, state(pool, "a")) == (6, State.OPEN)


async def test_the_next_caller_probes_when_the_one_who_did_has_left(a: MemoryBackend, b: MemoryBackend) -> None:
    clock = Clock()
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}), clock=clock)
    await open_breaker(pool, a)
    clock.passes(OPEN_S)
    a.deeds = [hang, WholeAnswer()]
    leaves = asyncio.create_task(ask(pool))
    await asyncio.sleep(0.02)
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    assert in_flight(pool) == [0, 0]
    assert await ask(pool) == "a"
    assert state(pool, "a") is State.CLOSED


async def test_callers_who_left_long_ago_do_not_let_others_into_the_probe(a: MemoryBackend, b: MemoryBackend) -> None:
    clock = Clock()
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}), clock=clock)
    a.deeds = [hang]
    old = [asyncio.create_task(ask(pool)) for _ in range(10)]
    await asyncio.sleep(0.02)
    a.calls.clear()
    await open_breaker(pool, a)
    clock.passes(OPEN_S)
    a.deeds = [hang]
    probe = asyncio.create_task(ask(pool))
    await asyncio.sleep(0.02)
    for task in old:
        task.cancel()
    await asyncio.gather(*old, return_exceptions=True)
    assert {await ask(pool) for _ in range(20)} == {"b"}
    assert a.asked == 6
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)


async def test_deadlines_that_pass_open_the_breaker_too(a: MemoryBackend) -> None:
    pool = pool_of(a, clock=Clock())
    a.deeds = [late()]
    for _ in range(5):
        assert isinstance(await failure(pool), DeadlineExceeded)
    assert (a.asked, state(pool, "a")) == (5, State.OPEN)
    assert isinstance(await failure(pool), Unavailable)


async def test_a_bug_in_a_provider_leaves_no_place_taken(a: MemoryBackend) -> None:
    a.deeds = [RuntimeError("ours")]
    pool = pool_of(a)
    with pytest.raises(RuntimeError):
        await ask(pool)
    assert in_flight(pool) == [0]
    assert state(pool, "a") is State.CLOSED


async def test_streams_that_break_off_open_the_breaker(a: MemoryBackend, b: MemoryBackend) -> None:
    a.deeds = [WholeAnswer(b"data: a", is_stream=True)]
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}), clock=Clock())
    for _ in range(5):
        placed = await place(pool)
        assert placed.target.member.backend.name == "a"
        placed.broke(Upstream("it broke off"))
        placed.close()
    assert await ask(pool) == "b"


async def test_a_stream_that_ends_well_counts_for_its_backend(a: MemoryBackend) -> None:
    a.deeds = [WholeAnswer(b"data: a", is_stream=True)]
    pool = pool_of(a, clock=Clock())
    for breaks in [True] * 4 + [False] + [True] * 4:
        placed = await place(pool)
        if breaks:
            placed.broke(Upstream("it broke off"))
        placed.close()
    assert state(pool, "a") is State.CLOSED


async def test_nobody_hears_what_a_backend_said_about_anothers_request(a: MemoryBackend) -> None:
    pool = pool_of(a, max_retries=0, clock=Clock())
    a.deeds = [down("it answered 503: cannot take 'MY SECRET PROMPT'", logged="it answered 503")]
    for _ in range(5):
        assert "MY SECRET PROMPT" in (await failure(pool)).message
    told = await failure(pool)
    assert "MY SECRET" not in told.message
    assert "it answered 503" in told.message
