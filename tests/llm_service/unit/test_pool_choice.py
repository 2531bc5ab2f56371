"""Whom a pool asks first: by weight and priority, and who is let alone because it is busy or refused its key."""

from collections import Counter

from service_kit.errors import Overloaded, Upstream
from tests.support.backends import (
    Clock,
    MemoryBackend,
    WholeAnswer,
    ask,
    busy,
    failure,
    in_flight,
    place,
    pool_of,
    wrong_key,
)

# --- shares -------------------------------------------------------------------------------------------------------


async def test_one_after_the_other_requests_are_shared_exactly_by_weight(a: MemoryBackend, b: MemoryBackend) -> None:
    pool = pool_of((a, {"weight": 2.0}), (b, {"weight": 1.0}))
    assert "".join([await ask(pool) for _ in range(9)]) == "abaabaaba"


async def test_weights_need_not_be_whole() -> None:
    backends = [MemoryBackend(name) for name in "abc"]
    pool = pool_of(*((backend, {"weight": w}) for backend, w in zip(backends, (0.5, 0.3, 0.2), strict=True)))
    assert Counter([await ask(pool) for _ in range(100)]) == {"a": 50, "b": 30, "c": 20}


async def test_at_the_same_time_requests_go_to_whoever_has_the_least_for_its_weight(
    a: MemoryBackend, b: MemoryBackend
) -> None:
    pool = pool_of((a, {"weight": 3.0}), (b, {"weight": 1.0}))
    held = [await place(pool) for _ in range(12)]
    assert in_flight(pool) == [9, 3]
    for placed in held:
        if placed.target.member.backend.name == "a":
            placed.close()  # a has become the faster one
    assert in_flight(pool) == [0, 3]
    assert [(await place(pool)).target.member.backend.name for _ in range(9)] == ["a"] * 9


async def test_a_place_is_given_back_once_however_often_it_is_closed(a: MemoryBackend) -> None:
    pool = pool_of(a)
    placed = await place(pool)
    assert in_flight(pool) == [1]
    placed.close()
    placed.close()
    assert in_flight(pool) == [0]
    assert isinstance(placed.answer, WholeAnswer)
    assert placed.answer.closed == 1


async def test_the_second_priority_is_asked_only_while_the_first_cannot_be(a: MemoryBackend, b: MemoryBackend) -> None:
    clock = Clock()
    pool = pool_of((a, {"priority": 1, "weight": 1000.0}), (b, {"priority": 0, "weight": 0.001}), clock=clock)
    assert {await ask(pool) for _ in range(20)} == {"b"}
    b.deeds = [busy(retry_after_s=5)]
    assert {await ask(pool) for _ in range(5)} == {"a"}
    assert b.asked == 21  # once more, and not while it cools
    b.deeds = [WholeAnswer()]
    clock.passes(5)
    assert {await ask(pool) for _ in range(20)} == {"b"}


# --- busy ---------------------------------------------------------------------------------------------------------


async def test_a_busy_backend_is_let_alone_until_the_time_that_it_named(a: MemoryBackend, b: MemoryBackend) -> None:
    clock = Clock()
    pool = pool_of(a, b, clock=clock)
    a.deeds = [busy(retry_after_s=10), WholeAnswer()]
    assert {await ask(pool) for _ in range(20)} == {"b"}
    assert a.asked == 1
    clock.passes(9.9)
    assert {await ask(pool) for _ in range(20)} == {"b"}
    clock.passes(0.2)
    assert {await ask(pool) for _ in range(20)} == {"a", "b"}


async def test_while_all_are_busy_callers_hear_the_shortest_wait(a: MemoryBackend, b: MemoryBackend) -> None:
    a.deeds, b.deeds = [busy(retry_after_s=90)], [busy(retry_after_s=60.2)]
    pool = pool_of(a, b)
    assert (await failure(pool)).status == 429  # of this one's own asking
    told = await failure(pool)
    assert isinstance(told, Overloaded)
    assert told.retry_after_s == 61
    assert told.message == "http://b/v1 is busy and asked to wait 61 s"
    assert (a.asked, b.asked) == (1, 1)


async def test_nobody_hears_what_a_busy_backend_said_to_another(a: MemoryBackend) -> None:
    pool = pool_of(a, max_retries=0)
    a.deeds = [busy(60, told="org MY SECRET ORG is over its limit")]
    assert "MY SECRET ORG" in (await failure(pool)).message
    assert "MY SECRET" not in (await failure(pool)).message


# --- a wrong key --------------------------------------------------------------------------------------------------


async def test_a_refused_key_is_told_and_not_tried_again(a: MemoryBackend, b: MemoryBackend) -> None:
    a.deeds = [wrong_key()]
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}))
    assert "check SOME_KEY" in (await failure(pool)).message
    assert (a.asked, b.asked) == (1, 0)


async def test_others_are_preferred_for_half_a_minute_to_a_backend_that_refused_its_key(
    a: MemoryBackend, b: MemoryBackend
) -> None:
    clock = Clock()
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}), clock=clock)
    a.deeds = [wrong_key(), WholeAnswer()]
    await failure(pool)
    assert {await ask(pool) for _ in range(20)} == {"b"}
    clock.passes(29.9)
    assert await ask(pool) == "b"
    clock.passes(0.2)
    assert {await ask(pool) for _ in range(20)} == {"a"}


async def test_where_the_others_are_down_a_backend_that_refused_its_key_is_asked(
    a: MemoryBackend, b: MemoryBackend
) -> None:
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}))
    a.deeds, b.deeds = [wrong_key(), WholeAnswer()], [busy(retry_after_s=60)]
    await failure(pool)
    assert await ask(pool) == "a"


async def test_a_sole_backend_is_asked_each_time_whatever_it_said_to_its_key(a: MemoryBackend) -> None:
    pool = pool_of(a)
    a.deeds = [wrong_key(), wrong_key(), WholeAnswer()]
    assert isinstance(await failure(pool), Upstream)
    assert isinstance(await failure(pool), Upstream)
    assert await ask(pool) == "a"
