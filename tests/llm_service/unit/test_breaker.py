"""When a backend is let alone, for how long, and who may be the first to ask it again."""

from collections.abc import Callable

import pytest

from llm_service.providers.base import AttemptFailed
from llm_service.providers.breaker import (
    COOL_S,
    FAILURES_TO_OPEN,
    KEY_REST_S,
    MAX_OPEN_S,
    OPEN_S,
    Breaker,
    State,
)
from tests.support.backends import Clock, busy, down, wrong_key


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def fail(breaker: Breaker, failure: AttemptFailed, times: int = 1) -> None:
    for _ in range(times):
        breaker.fail(failure, breaker.begin())


def opened(breaker: Breaker) -> Breaker:
    fail(breaker, down(), FAILURES_TO_OPEN)
    return breaker


def half_opened(breaker: Breaker, clock: Clock) -> Breaker:
    opened(breaker)
    clock.passes(OPEN_S)
    return breaker


def test_a_new_one_is_closed_and_free(breaker: Breaker) -> None:
    assert (breaker.state, breaker.is_free, breaker.wait_s()) == (State.CLOSED, True, 0.0)


def test_it_opens_at_the_fifth_failure_in_a_row_and_not_before(breaker: Breaker) -> None:
    fail(breaker, down(), 4)
    assert (breaker.state, breaker.is_free) == (State.CLOSED, True)
    fail(breaker, down())
    assert (breaker.state, breaker.is_free) == (State.OPEN, False)
    assert breaker.wait_s() > 0


def test_an_answer_between_failures_begins_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, down(), 4)
    breaker.begin()
    breaker.succeed()
    fail(breaker, down(), 4)
    assert breaker.state is State.CLOSED


def test_the_first_opening_lasts_at_most_a_second_and_never_under_three_quarters(clock: Clock) -> None:
    waits = [opened(Breaker(clock)).wait_s() for _ in range(200)]
    assert 0.75 * OPEN_S <= min(waits) < max(waits) <= OPEN_S  # spread, so that gateways do not probe together


def test_each_failed_probe_doubles_the_wait_up_to_half_a_minute(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    longest = OPEN_S
    for _ in range(8):
        assert 0.75 * longest <= breaker.wait_s() <= longest
        clock.passes(longest)
        assert breaker.state is State.HALF_OPEN
        fail(breaker, down())
        assert breaker.state is State.OPEN
        longest = min(2 * longest, MAX_OPEN_S)
    assert longest == MAX_OPEN_S == 30


def test_half_open_it_lets_one_probe_in(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    assert (breaker.state, breaker.is_free) == (State.HALF_OPEN, True)
    breaker.begin()
    assert (breaker.state, breaker.is_free) == (State.HALF_OPEN, False)
    assert breaker.wait_s() > 0


def test_a_probe_that_is_answered_closes_it_as_if_nothing_had_been(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    fail(breaker, down())
    clock.passes(MAX_OPEN_S)
    breaker.begin()
    breaker.succeed()
    assert (breaker.state, breaker.is_free, breaker.last_failure) == (State.CLOSED, True, None)
    fail(breaker, down(), 4)
    assert breaker.state is State.CLOSED
    fail(breaker, down())
    assert 0 < breaker.wait_s() <= OPEN_S


def test_a_probe_that_nobody_waits_for_any_more_leaves_room_for_the_next(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    breaker.abandon(breaker.begin())
    assert (breaker.state, breaker.is_free) == (State.HALF_OPEN, True)
    fail(breaker, down())
    assert breaker.state is State.OPEN  # the next one was a probe, too


@pytest.mark.parametrize("ends", [lambda breaker, probe: breaker.abandon(probe), lambda b, p: b.fail(down(), p)])
def test_an_attempt_from_before_the_opening_does_not_end_anothers_probe(
    breaker: Breaker, clock: Clock, ends: Callable[[Breaker, int], None]
) -> None:
    old = breaker.begin()
    half_opened(breaker, clock)
    probe = breaker.begin()
    ends(breaker, old)
    assert (breaker.state, breaker.is_free) == (State.HALF_OPEN, False)
    breaker.abandon(probe)
    assert breaker.is_free


def test_a_probe_that_outlived_its_outage_does_not_end_the_probe_of_the_next(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    old = breaker.begin()
    breaker.succeed()  # an attempt from before the opening, answered at last
    half_opened(breaker, clock)
    breaker.begin()
    breaker.abandon(old)
    assert not breaker.is_free


def test_failures_of_attempts_from_before_the_opening_do_not_lengthen_it(breaker: Breaker) -> None:
    attempts = [breaker.begin() for _ in range(40)]
    for attempt in attempts:
        breaker.fail(down(), attempt)
    assert 0 < breaker.wait_s() <= OPEN_S


@pytest.mark.parametrize(("asked", "waits"), [(7.5, 7.5), (None, COOL_S), (0.0, 0.0), (1e9, 3600.0)])
def test_a_429_cools_for_as_long_as_it_asks(breaker: Breaker, clock: Clock, asked: float | None, waits: float) -> None:
    fail(breaker, busy(asked))
    assert breaker.wait_s() == waits
    clock.passes(waits)
    assert (breaker.state, breaker.is_free) == (State.CLOSED, True)


def test_while_it_cools_it_is_not_free(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, busy(7.5))
    clock.passes(7.4)
    assert (breaker.state, breaker.is_free) == (State.COOLING, False)


@pytest.mark.parametrize("answers", [Breaker.succeed, Breaker.begin_stream])
def test_an_answer_to_a_question_from_before_the_429_does_not_undo_its_wish(
    breaker: Breaker, clock: Clock, answers: Callable[[Breaker], None]
) -> None:
    breaker.begin()
    fail(breaker, busy(30))
    answers(breaker)
    clock.passes(29)
    assert (breaker.state, breaker.is_free) == (State.COOLING, False)
    assert breaker.last_failure is not None  # callers are told why
    clock.passes(1)
    assert breaker.is_free
    answers(breaker)
    assert breaker.last_failure is None


def test_a_shorter_wish_does_not_undo_a_longer_one(breaker: Breaker) -> None:
    fail(breaker, busy(30))
    fail(breaker, busy(1))
    assert breaker.wait_s() == 30


def test_a_429_shows_that_it_is_alive(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    fail(breaker, busy(2))
    assert breaker.state is State.COOLING
    clock.passes(2)
    fail(breaker, down(), 4)
    assert breaker.state is State.CLOSED


def test_429s_never_open_it(breaker: Breaker) -> None:
    fail(breaker, busy(0), 50)
    assert breaker.is_free


def test_a_refused_key_rests_but_may_be_asked(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, wrong_key())
    assert (breaker.state, breaker.is_free) == (State.CLOSED, True)
    assert (breaker.is_key_refused, breaker.is_key_resting) == (True, True)
    clock.passes(KEY_REST_S)
    assert (breaker.is_key_refused, breaker.is_key_resting) == (True, False)
    breaker.begin()
    breaker.succeed()
    assert not breaker.is_key_refused


def test_refused_keys_never_open_it(breaker: Breaker) -> None:
    fail(breaker, wrong_key(), 50)
    assert breaker.is_free


def test_a_key_refused_by_a_probe_ends_the_outage(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    fail(breaker, wrong_key())
    assert (breaker.state, breaker.is_free) == (State.CLOSED, True)


def test_streams_that_begin_and_break_off_open_it_too(breaker: Breaker, clock: Clock) -> None:
    for _ in range(5):
        assert breaker.state is State.CLOSED
        breaker.begin()
        breaker.begin_stream()
        breaker.fail(down())
    assert breaker.state is State.OPEN
    clock.passes(OPEN_S)
    breaker.begin()
    breaker.begin_stream()
    assert (breaker.state, breaker.is_free) == (State.CLOSED, True)  # a first byte ends the outage
    breaker.fail(down())  # but one more that breaks off is enough, and doubles the wait
    assert breaker.state is State.OPEN
    assert 1.5 * OPEN_S <= breaker.wait_s() <= 2 * OPEN_S


def test_a_stream_that_ends_well_begins_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, down(), 4)
    breaker.begin()
    breaker.begin_stream()
    breaker.end_stream()
    fail(breaker, down(), 4)
    assert breaker.state is State.CLOSED


def test_a_whole_answer_ends_the_count_that_a_stream_left(breaker: Breaker) -> None:
    fail(breaker, down(), 4)
    breaker.begin()
    breaker.begin_stream()  # it goes on
    breaker.begin()
    breaker.succeed()
    fail(breaker, down(), 4)
    assert breaker.state is State.CLOSED


def test_a_streams_first_byte_shows_that_the_key_is_right(breaker: Breaker) -> None:
    fail(breaker, wrong_key())
    breaker.begin()
    breaker.begin_stream()
    assert (breaker.is_key_refused, breaker.is_free, breaker.last_failure) == (False, True, None)


def test_an_old_streams_end_does_not_end_an_outage(breaker: Breaker) -> None:
    opened(breaker)
    breaker.end_stream()
    assert not breaker.is_free
