"""Several backends as one: who is asked, who after whom, who is let alone, and what callers are told meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from llm_service.core.backends import Backend
from llm_service.core.errors import Refused
from llm_service.providers.base import AttemptFailed, Call, Fault
from llm_service.providers.breaker import FAILURES_TO_OPEN, OPEN_S, Breaker, State
from llm_service.providers.catalog import Target
from llm_service.providers.pool import Placed, Pool, Request
from service_kit.errors import DeadlineExceeded, NotFound, Overloaded, ServiceError, Unavailable, Upstream
from tests.support.backends import Clock, MemoryBackend, WholeAnswer, broken, busy, down, late, wrong_key


@pytest.fixture
def a() -> MemoryBackend:
    return MemoryBackend("a")


@pytest.fixture
def b() -> MemoryBackend:
    return MemoryBackend("b")


def pool_of(
    *members: MemoryBackend | tuple[MemoryBackend, dict[str, object]],
    retried: list[tuple[str, Fault]] | None = None,
    clock: Clock | None = None,
    **options: int,
) -> Pool:
    """A pool over these, each with fields of its Backend where they matter. retried: what on_retry is told."""
    pairs = [member if isinstance(member, tuple) else (member, {}) for member in members]
    by_name = {member.name: member for member, _ in pairs}
    backends = tuple(member.backend(**fields) for member, fields in pairs)

    def note(target: Target, fault: Fault) -> None:
        if retried is not None:
            retried.append((target.member.backend.name, fault))

    pool = Pool(lambda: backends, lambda backend: by_name[backend.name], on_retry=note, **options)
    if clock is not None:
        for member in pool.members:
            member.breaker = Breaker(clock)
    return pool


async def place(pool: Pool, model: str | None = "m", within_s: float = 60.0) -> Placed:
    by = asyncio.get_running_loop().time() + within_s
    return await pool.send(
        model, Request("/v1/chat/completions", lambda t: t.model.encode(), lambda _: None, False, by, by)
    )


async def ask(pool: Pool, model: str | None = "m", within_s: float = 60.0) -> str:
    """Who answered."""
    placed = await place(pool, model, within_s)
    placed.close()
    return placed.target.member.backend.name


async def failure(pool: Pool, within_s: float = 60.0) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await ask(pool, within_s=within_s)
    return caught.value


def state(pool: Pool, name: str) -> State:
    return next(member.breaker.state for member in pool.members if member.backend.name == name)


def in_flight(pool: Pool) -> list[int]:
    return [member.in_flight for member in pool.members]


async def hang(call: Call) -> WholeAnswer:
    await asyncio.sleep(3600)
    raise AssertionError("nobody waits so long")


# --- the next one -------------------------------------------------------------------------------------------------


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


async def test_a_sole_backend_is_not_asked_before_the_time_that_it_named(a: MemoryBackend) -> None:
    a.deeds = [broken(retry_after_s=0.4), busy(retry_after_s=0.4), WholeAnswer()]
    assert await ask(pool_of(a)) == "a"
    assert 0.4 <= a.times[1] - a.times[0] < 0.7
    assert 0.4 <= a.times[2] - a.times[1] < 0.7


async def test_a_429_that_names_no_time_is_tried_again_too(a: MemoryBackend) -> None:
    a.deeds = [busy(), WholeAnswer()]
    assert await ask(pool_of(a)) == "a"
    assert 1.0 <= a.times[1] - a.times[0] < 1.7


async def test_a_long_rest_of_one_is_not_waited_for_where_the_other_may_be_asked_again(
    a: MemoryBackend, b: MemoryBackend
) -> None:
    a.deeds = [down(), WholeAnswer()]
    b.deeds = [busy(retry_after_s=15)]
    assert await ask(pool_of((a, {"priority": 0}), (b, {"priority": 1}))) == "a"
    assert a.times[1] - a.times[0] < 0.6


async def test_a_wait_longer_than_twenty_seconds_is_told_and_not_sat_through(a: MemoryBackend) -> None:
    a.deeds = [busy(retry_after_s=21)]
    told = await failure(pool_of(a))
    assert (told.status, told.retry_after_s) == (429, 21)
    assert a.asked == 1


async def test_no_attempt_begins_that_the_deadline_leaves_no_time_for(a: MemoryBackend) -> None:
    a.deeds = [down()]
    before = asyncio.get_running_loop().time()
    assert isinstance(await failure(pool_of(a), within_s=0.2), Unavailable)
    assert asyncio.get_running_loop().time() - before < 0.15
    assert a.asked == 1


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


# --- the breaker --------------------------------------------------------------------------------------------------


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


# --- storms, and other people's words -----------------------------------------------------------------------------


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


async def test_nobody_hears_what_a_backend_said_about_anothers_request(a: MemoryBackend) -> None:
    pool = pool_of(a, max_retries=0, clock=Clock())
    a.deeds = [down("it answered 503: cannot take 'MY SECRET PROMPT'", logged="it answered 503")]
    for _ in range(5):
        assert "MY SECRET PROMPT" in (await failure(pool)).message
    told = await failure(pool)
    assert "MY SECRET" not in told.message
    assert "it answered 503" in told.message


async def test_nobody_hears_what_a_busy_backend_said_to_another(a: MemoryBackend) -> None:
    pool = pool_of(a, max_retries=0)
    a.deeds = [busy(60, told="org MY SECRET ORG is over its limit")]
    assert "MY SECRET ORG" in (await failure(pool)).message
    assert "MY SECRET" not in (await failure(pool)).message


# --- another set of backends --------------------------------------------------------------------------------------


class Swapped:
    """A pool whose backends can be changed."""

    def __init__(self, *backends: Backend):
        self.backends: Sequence[Backend] = backends
        self.made: list[MemoryBackend] = []
        self.pool = Pool(lambda: self.backends, self._make)

    def _make(self, backend: Backend) -> MemoryBackend:
        self.made.append(MemoryBackend(backend.name))
        return self.made[-1]


@pytest.fixture
def swapped() -> Swapped:
    return Swapped(Backend("a", "http://a/v1"), Backend("b", "http://b/v1", priority=1))


async def test_a_new_set_is_in_force_for_the_next_request(swapped: Swapped) -> None:
    assert await ask(swapped.pool) == "a"
    swapped.backends = (Backend("b", "http://b/v1", priority=1), Backend("c", "http://c/v1", models=("m",)))
    assert await ask(swapped.pool) == "c"
    assert [member.backend.name for member in swapped.pool.members] == ["b", "c"]


async def test_a_backend_that_is_unchanged_keeps_what_is_known_of_it(swapped: Swapped) -> None:
    await ask(swapped.pool)
    old_b = swapped.pool.members[1]
    swapped.made[1].deeds = [down()]
    old_b.breaker.fail(busy(30))
    swapped.backends = (Backend("b", "http://b/v1", priority=1), Backend("a", "http://other/v1", models=("m",)))
    assert await ask(swapped.pool) == "a"
    assert swapped.pool.members[0] is old_b
    assert [backend.name for backend in swapped.made] == ["a", "b", "a"]
    assert swapped.made[2].asked == 1


async def test_a_new_backend_takes_part_at_once_since_its_list_is_waited_for(swapped: Swapped) -> None:
    await ask(swapped.pool)
    swapped.backends = (Backend("b", "http://b/v1", priority=1), Backend("c", "http://c/v1"))
    assert await ask(swapped.pool) == "c"


async def test_lists_that_are_known_are_not_waited_for_after_a_change(swapped: Swapped) -> None:
    await ask(swapped.pool)
    swapped.made[1].list_gate = asyncio.Event()  # it has begun to hang
    swapped.backends = (Backend("b", "http://b/v1", priority=1),)
    assert await asyncio.wait_for(ask(swapped.pool), 1) == "b"


async def test_a_request_ends_at_the_backend_where_it_began(swapped: Swapped) -> None:
    placed = await place(swapped.pool)
    swapped.backends = (Backend("c", "http://c/v1"),)
    assert await ask(swapped.pool) == "c"
    assert await placed.answer.more() == b""
    placed.close()
    assert placed.target.member.in_flight == 0


async def test_a_request_that_fails_after_the_change_is_tried_where_it_was_meant_to(swapped: Swapped) -> None:
    async def change_and_fail(call: Call) -> WholeAnswer:
        swapped.backends = ()
        raise down()

    swapped.made[0].deeds = [change_and_fail]
    assert await ask(swapped.pool) == "b"
    assert "OPENAI_API_KEY" in (await failure(swapped.pool)).message
