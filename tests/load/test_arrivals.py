"""An open loop: what is due does not wait for what came before."""

from itertools import pairwise

from tests.load.arrivals import Arrival, arrivals, drive
from tests.load.records import Record
from tests.load.scenarios import GENERATE, SEARCH
from tests.load.verdict import summary


def test_there_are_exactly_rate_times_duration_requests_of_each_scenario() -> None:
    due = arrivals({SEARCH: 100, GENERATE: 10}, 60)
    assert sum(arrival.scenario == SEARCH for arrival in due) == 6000
    assert sum(arrival.scenario == GENERATE for arrival in due) == 600


def test_arrivals_are_in_order_within_the_time_and_the_same_every_time() -> None:
    due = arrivals({SEARCH: 7, GENERATE: 3}, 20)
    times = [arrival.due_s for arrival in due]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] < 20
    assert due == arrivals({SEARCH: 7, GENERATE: 3}, 20)


def test_arrivals_are_not_evenly_spaced() -> None:
    times = [arrival.due_s for arrival in arrivals({SEARCH: 10}, 60)]
    gaps = {round(later - earlier, 3) for earlier, later in pairwise(times)}
    assert len(gaps) > 100


class Clock:
    """A clock that only sleeping, and `spend`, move."""

    def __init__(self) -> None:
        self.s = 50.0

    def now(self) -> float:
        return self.s

    def sleep(self, seconds: float) -> None:
        self.s += seconds


def test_a_driver_that_is_held_up_starts_what_is_overdue_at_once_and_tells_when_it_was_due() -> None:
    clock = Clock()
    seen: list[tuple[int, float, float]] = []

    def start(arrival: Arrival, due_at: float) -> None:
        seen.append((arrival.number, due_at - 50, clock.now() - 50))
        if arrival.number == 1:
            clock.sleep(10)  # the driver itself is stopped for so long

    due = [Arrival(float(number), SEARCH, number) for number in range(5)]
    assert list(drive(due, start, now=clock.now, sleep=clock.sleep)) == due
    assert seen == [(0, 0, 0), (1, 1, 1), (2, 2, 11), (3, 3, 11), (4, 4, 11)]


def test_latency_counts_from_when_a_request_was_due_and_not_from_when_it_was_sent() -> None:
    late = Record(SEARCH, due_s=2, sent_s=11, first_s=11.5, ended_s=11.5, status=200, tokens=0, error="")
    assert late.latency_s == 9.5
    told = summary([late], SEARCH, 1, 1)
    assert told.max_ms == 9500
    assert told.behind_ms == 9000
    assert told.broken == {"over 5 s": 1}


def test_a_driver_that_is_told_to_stop_starts_nothing_more() -> None:
    clock, started = Clock(), []
    due = [Arrival(float(number), SEARCH, number) for number in range(5)]
    run = drive(
        due, lambda a, _: started.append(a.number), now=clock.now, sleep=clock.sleep, stopped=lambda: len(started) > 1
    )
    assert len(list(run)) == 2
