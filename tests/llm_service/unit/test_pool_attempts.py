"""One request to several backends: who is asked after whom, after what pause, how often, and what its caller hears."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from llm_service.core.errors import Refused
from llm_service.providers.base import AttemptFailed, Fault
from llm_service.providers.breaker import State
from service_kit.errors import DeadlineExceeded, NotFound, ServiceError, Unavailable, Upstream
from tests.llm_service.wire import quickest
from tests.support.backends import (
    MemoryBackend,
    WholeAnswer,
    ask,
    broken,
    busy,
    down,
    failure,
    in_flight,
    pool_of,
    state,
)


@pytest.mark.parametrize("fails", [down(), broken(), broken(retry_after_s=30), busy(), busy(retry_after_s=30)])
async def test_the_next_backend_is_asked_without_a_pause(
    a: MemoryBackend, b: MemoryBackend, fails: AttemptFailed
) -> None:
    a.deeds = [fails]
    retried: list[tuple[str, Fault]] = []
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}), retried=retried)
    assert await ask(pool) == "b"
    assert b.times[0] - a.times[0] < 0.1
    assert retried == [("a", fails.fault)]
    assert in_flight(pool) == [0, 0]


async def test_every_backend_of_the_model_gets_one_attempt_even_without_retries() -> None:
    backends = [MemoryBackend(str(number), [down()]) for number in range(4)]
    backends[3].deeds = [WholeAnswer()]
    pool = pool_of(*((backend, {"priority": number}) for number, backend in enumerate(backends)), max_retries=0)
    assert await ask(pool) == "3"
    assert [backend.asked for backend in backends] == [1, 1, 1, 1]


async def test_a_sole_backend_is_asked_again_after_a_backoff(a: MemoryBackend) -> None:
    a.deeds = [down(), broken(), WholeAnswer()]
    assert await ask(pool_of(a)) == "a"
    assert 0.25 <= a.times[1] - a.times[0] < 0.45
    assert 0.5 <= a.times[2] - a.times[1] < 0.85


async def test_a_caller_hears_the_last_failure_when_the_retries_are_used_up(a: MemoryBackend) -> None:
    a.deeds = [down(), down(), broken()]
    assert isinstance(await failure(pool_of(a)), Upstream)
    assert a.asked == 3


async def test_no_retries_means_none(a: MemoryBackend) -> None:
    a.deeds = [down()]
    assert isinstance(await failure(pool_of(a, max_retries=0)), Unavailable)
    assert a.asked == 1


async def longest_pause_s(at_least_s: float, *deeds: Any) -> float:
    """The longest time in seconds between two attempts of one request; none may be shorter than at_least_s."""
    a = MemoryBackend("a")
    a.deeds = list(deeds)
    assert await ask(pool_of(a)) == "a"
    pauses_s = [later - earlier for earlier, later in pairwise(a.times)]
    assert min(pauses_s) >= at_least_s
    return max(pauses_s)


async def test_a_sole_backend_is_asked_at_the_time_that_it_named() -> None:
    deeds = broken(retry_after_s=0.4), busy(retry_after_s=0.4), WholeAnswer()
    assert await quickest(lambda: longest_pause_s(0.4, *deeds), 0.7) < 0.7


async def test_a_429_that_names_no_time_is_tried_again_too() -> None:
    assert await quickest(lambda: longest_pause_s(1.0, busy(), WholeAnswer()), 1.7) < 1.7


async def test_a_long_rest_of_one_is_not_waited_for_where_the_other_may_be_asked_again(
    a: MemoryBackend, b: MemoryBackend
) -> None:
    a.deeds = [down(), WholeAnswer()]
    b.deeds = [busy(retry_after_s=15)]
    assert await ask(pool_of((a, {"priority": 0}), (b, {"priority": 1}))) == "a"
    assert a.times[1] - a.times[0] < 10


async def test_a_wait_longer_than_twenty_seconds_is_told_and_not_sat_through(a: MemoryBackend) -> None:
    a.deeds = [busy(retry_after_s=21)]
    told = await failure(pool_of(a))
    assert (told.status, told.retry_after_s) == (429, 21)
    assert a.asked == 1


async def test_no_attempt_begins_that_the_deadline_leaves_no_time_for() -> None:
    async def told_s() -> float:
        a = MemoryBackend("a")
        a.deeds = [down()]
        before = asyncio.get_running_loop().time()
        assert isinstance(await failure(pool_of(a), within_s=0.2), Unavailable)
        assert a.asked == 1
        return asyncio.get_running_loop().time() - before

    assert await quickest(told_s, 0.15) < 0.15


@pytest.mark.parametrize("refusal", [Refused(400, "no"), Upstream("HTML"), DeadlineExceeded("late"), NotFound("x")])
async def test_what_another_backend_would_not_mend_is_told_at_once(
    a: MemoryBackend, b: MemoryBackend, refusal: ServiceError
) -> None:
    a.deeds = [refusal]
    pool = pool_of((a, {"priority": 0}), (b, {"priority": 1}))
    assert await failure(pool) is refusal
    assert b.asked == 0
    assert in_flight(pool) == [0, 0]


async def test_a_request_that_is_refused_says_nothing_against_the_backend(a: MemoryBackend) -> None:
    a.deeds = [Refused(400, "no")]
    pool = pool_of(a)
    for _ in range(20):
        assert (await failure(pool)).status == 400
    assert state(pool, "a") is State.CLOSED


async def test_each_backend_is_asked_by_its_own_name_of_the_model(a: MemoryBackend, b: MemoryBackend) -> None:
    a.deeds = [down()]
    a.lists, b.lists = [["qwen"]], [["org/qwen"]]
    pool = pool_of((a, {"aliases": (("m", "qwen"),)}), (b, {"aliases": (("m", "org/qwen"),), "priority": 1}))
    assert await ask(pool) == "b"
    assert [call.body for call in a.calls + b.calls] == [b"qwen", b"org/qwen"]


async def test_a_backend_that_does_not_serve_the_model_is_not_asked(a: MemoryBackend, b: MemoryBackend) -> None:
    a.deeds = [down()]
    b.lists = [["other"]]
    assert isinstance(await failure(pool_of(a, b, max_retries=0)), Unavailable)
    assert b.asked == 0


async def test_without_a_backend_a_caller_hears_what_to_set() -> None:
    assert "OPENAI_API_KEY" in (await failure(pool_of())).message


# --- storms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("all_at_once", [True, False])
async def test_a_hundred_requests_at_a_dead_backend_make_no_storm(a: MemoryBackend, all_at_once: bool) -> None:
    a.deeds = [busy(retry_after_s=0)]  # never opens the breaker, and asks for no pause: the budget alone holds it
    retried: list[tuple[str, Fault]] = []
    pool = pool_of(a, retried=retried)
    if all_at_once:
        await asyncio.gather(*(failure(pool) for _ in range(100)))
    else:
        for _ in range(100):
            await failure(pool)
    assert (10 if all_at_once else 27) <= len(retried) <= 30  # the reserve, and what 100 requests earn while they come
    assert a.asked == 100 + len(retried)


async def test_a_failover_is_paid_from_the_same_budget(a: MemoryBackend, b: MemoryBackend) -> None:
    a.deeds, b.deeds = [busy(retry_after_s=0)], [busy(retry_after_s=0)]
    pool = pool_of(a, b)
    for _ in range(100):
        await failure(pool)
    assert 100 + 10 <= a.asked + b.asked <= 100 + 30
