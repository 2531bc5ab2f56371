"""Requests and tokens a minute, by a clock that the test moves."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_service.admission.keys import Key
from llm_service.admission.limits import RateLimits
from llm_service.core.envelope import openai_envelope
from service_kit.errors import Overloaded


class Clock:
    # A machine that has been up for a month: what is small must not drown in it.
    now_s = 2_592_000.1

    def __call__(self) -> float:
        return self.now_s


def key(requests: int | None = None, tokens: int | None = None, *, name: str = "ci", digest: bytes = bytes(32)) -> Key:
    return Key(name, digest, requests, tokens)


def admitted(limits: RateLimits, whose: Key, tries: int = 1_000) -> int:
    for count in range(tries):
        try:
            limits.admit(whose)
        except Overloaded:
            return count
    return tries


def refusal(limits: RateLimits, whose: Key) -> Overloaded:
    with pytest.raises(Overloaded) as failed:
        limits.admit(whose)
    return failed.value


def test_a_minutes_requests_may_come_at_once_and_no_more() -> None:
    assert admitted(RateLimits(Clock()), key(requests=60)) == 60


def test_requests_come_back_one_by_one() -> None:
    clock, mine = Clock(), key(requests=60)
    limits = RateLimits(clock)
    admitted(limits, mine)
    clock.now_s += 0.9
    assert admitted(limits, mine) == 0
    clock.now_s += 0.1
    assert admitted(limits, mine) == 1
    clock.now_s += 3_600
    assert admitted(limits, mine) == 60


def test_a_refused_request_costs_nothing() -> None:
    clock, mine = Clock(), key(requests=60)
    limits = RateLimits(clock)
    admitted(limits, mine)
    for _ in range(100):
        refusal(limits, mine)
    clock.now_s += 1
    assert admitted(limits, mine) == 1


def test_tokens_are_taken_after_the_answer_and_a_debt_is_waited_for() -> None:
    clock, mine = Clock(), key(tokens=600)
    limits = RateLimits(clock)
    limits.admit(mine).spend(1_199)
    failed = refusal(limits, mine)  # 599 owed and one to use, at 10 a second
    assert failed.retry_after_s == 60
    clock.now_s += 59
    assert refusal(limits, mine).retry_after_s == 1
    clock.now_s += 1
    limits.admit(mine)


def test_a_key_that_has_used_its_last_token_waits_for_the_next() -> None:
    clock, mine = Clock(), key(tokens=60)
    limits = RateLimits(clock)
    limits.admit(mine).spend(60)
    assert refusal(limits, mine).retry_after_s == 1
    clock.now_s += 1
    limits.admit(mine)


def test_requests_in_work_together_may_owe_together() -> None:
    clock, mine = Clock(), key(tokens=60)
    limits = RateLimits(clock)
    accounts = [limits.admit(mine) for _ in range(3)]
    for account in accounts:
        account.spend(60)
    assert refusal(limits, mine).retry_after_s == 121


def test_tokens_of_an_idle_hour_do_not_pile_up() -> None:
    clock, mine = Clock(), key(tokens=60)
    limits = RateLimits(clock)
    limits.admit(mine)
    clock.now_s += 3_600
    limits.admit(mine).spend(120)
    assert refusal(limits, mine).retry_after_s == 61


def test_the_refusal_for_want_of_tokens_takes_no_request() -> None:
    clock, mine = Clock(), key(requests=2, tokens=60)
    limits = RateLimits(clock)
    limits.admit(mine).spend(61)
    assert [refusal(limits, mine).details["type"] for _ in range(3)] == ["tokens"] * 3
    clock.now_s += 2
    assert admitted(limits, mine) == 1


@pytest.mark.parametrize(
    ("mine", "kind", "words"),
    [
        (
            key(requests=1),
            "requests",
            "Rate limit reached for key 'ci' on requests per min (RPM): Limit 1. Please try again in 60s.",
        ),
        (
            key(tokens=1),
            "tokens",
            "Rate limit reached for key 'ci' on tokens per min (TPM): Limit 1. Please try again in 60s.",
        ),
    ],
)
def test_the_refusal_is_openais(mine: Key, kind: str, words: str) -> None:
    limits = RateLimits(Clock())
    limits.admit(mine).spend(1)
    failed = refusal(limits, mine)
    assert (failed.status, failed.retry_after_s) == (429, 60)
    assert openai_envelope("", failed)["error"] == {
        "message": words,
        "type": kind,
        "param": None,
        "code": "rate_limit_exceeded",
    }


def test_no_limit_means_none() -> None:
    limits, free = RateLimits(Clock()), key()
    assert admitted(limits, free) == 1_000
    limits.admit(free).spend(10**9)
    limits.admit(free)


def test_keys_do_not_share() -> None:
    limits = RateLimits(Clock())
    assert admitted(limits, key(requests=5)) == 5
    assert admitted(limits, key(requests=5, name="dev", digest=b"\1" * 32)) == 5


def test_what_was_used_is_still_used_after_the_file_was_read_again() -> None:
    limits = RateLimits(Clock())
    assert admitted(limits, key(requests=5)) == 5
    assert admitted(limits, key(requests=5)) == 0


def test_a_changed_limit_holds_from_the_next_request_on_and_a_debt_stays() -> None:
    clock = Clock()
    limits = RateLimits(clock)
    in_work = limits.admit(key(requests=10, tokens=600))
    in_work.spend(1_200)
    assert refusal(limits, key(requests=10, tokens=6_000)).retry_after_s == 7  # 601 at 100 a second
    clock.now_s += 7
    assert admitted(limits, key(requests=3, tokens=6_000)) == 3
    in_work.spend(6_000)  # of an answer that began under the old file
    assert refusal(limits, key(requests=3, tokens=6_000)).details["type"] == "tokens"
    assert admitted(limits, key()) == 1_000


def test_a_raised_limit_gives_what_was_left_and_then_comes_back_faster() -> None:
    clock = Clock()
    limits = RateLimits(clock)
    limits.admit(key(requests=60))
    clock.now_s += 3_600
    assert admitted(limits, key(requests=600)) == 60
    clock.now_s += 1
    assert admitted(limits, key(requests=600)) == 10


def test_times_are_told_exactly_at_any_hour() -> None:
    dice, clock, mine = random.Random(1), Clock(), key(tokens=60)
    told = set()
    for _ in range(1_000):
        clock.now_s = dice.random() * 1e7
        limits = RateLimits(clock)
        limits.admit(mine).spend(65)
        told.add(refusal(limits, mine).retry_after_s)
        clock.now_s += 6
        limits.admit(mine)
    assert told == {6}


def test_a_new_key_under_an_old_name_begins_anew_and_so_does_a_new_name() -> None:
    limits = RateLimits(Clock())
    admitted(limits, key(requests=5))
    assert admitted(limits, key(requests=5, digest=b"\1" * 32)) == 5
    assert admitted(limits, key(requests=5, name="dev")) == 5


@given(
    per_minute=st.integers(1, 100_000),
    used=st.integers(0, 1_000_000),
    idle_s=st.floats(0, 200),
)
def test_who_waits_as_told_is_let_in_and_not_a_second_sooner(per_minute: int, used: int, idle_s: float) -> None:
    clock, mine = Clock(), key(tokens=per_minute)
    limits = RateLimits(clock)
    limits.admit(mine).spend(used)
    clock.now_s += idle_s
    if admitted(limits, mine, 1):
        return
    asked_s, told_s = clock.now_s, refusal(limits, mine).retry_after_s or 0
    if told_s > 1:
        clock.now_s = asked_s + told_s - 1
        refusal(limits, mine)
    clock.now_s = asked_s + told_s
    limits.admit(mine)


@given(
    per_minute=st.integers(1, 100),
    gaps_s=st.lists(st.floats(0, 3), min_size=1, max_size=150),
)
def test_no_stretch_of_time_lets_in_more_than_a_burst_and_what_came_back(per_minute: int, gaps_s: list[float]) -> None:
    clock, mine = Clock(), key(requests=per_minute)
    limits = RateLimits(clock)
    times: list[float] = []
    for gap_s in gaps_s:
        clock.now_s += gap_s
        if admitted(limits, mine, 1):
            times.append(clock.now_s)
    # For every stretch from one that was let in to another: how many in it, less what came back.
    most = 0.0
    for count, time_s in enumerate(times):
        came_back = (time_s - times[0]) * per_minute / 60
        most = max(most, came_back - count)
        assert count + 1 - came_back + most <= per_minute + 1e-3
