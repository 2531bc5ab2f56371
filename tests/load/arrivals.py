"""When requests are due, whatever became of those before: an open loop. Standard library only: Locust imports it.

A closed loop waits for a slow server before it asks again, and so never sees most of what a user would have waited.
Here a request has a time at which it is due, and its latency counts from there: a client that could not send it in time
makes it late, and says so.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that is due `due_s` after the start: the `number`-th of its scenario, from 0."""

    due_s: float
    scenario: str
    number: int


def arrivals(rates: Mapping[str, float], duration_s: float, seed: int = 1) -> list[Arrival]:
    """What is due in `duration_s`, in order: rate · duration requests of each scenario.

    Each is due at a random moment of a slot of its own of 1 / rate seconds, so that the numbers are exact and the
    distances are not: evenly spaced requests never meet, which users' do.
    """
    chance = random.Random(seed)
    due = [
        Arrival((number + chance.random()) / rate, scenario, number)
        for scenario, rate in sorted(rates.items())
        for number in range(round(rate * duration_s))
    ]
    return sorted(due, key=lambda arrival: arrival.due_s)


def drive(
    due: Sequence[Arrival],
    start: Callable[[Arrival, float], object],
    *,
    now: Callable[[], float],
    sleep: Callable[[float], None],
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Arrival]:
    """Start each request when it is due, and yield it; never wait for one.

    start: takes the arrival and its due time on `now`'s clock, and returns at once. now, sleep: in seconds. A driver
    that is behind starts what is overdue at once, without leaving any out.
    """
    began = now()
    for arrival in due:
        if stopped():
            return
        due_at = began + arrival.due_s
        if (left := due_at - now()) > 0:
            sleep(left)
        start(arrival, due_at)
        yield arrival
