"""How long a retry waits, how many there may be, and what a Retry-After header says."""

from datetime import UTC, datetime

import pytest

from llm_service.providers.refusals import retry_after_s
from llm_service.providers.retries import MAX_BACKOFF_S, RetryBudget, wait_s

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(("attempt", "base"), [(0, 0.25), (1, 0.5), (2, 1.0), (5, 8.0), (6, MAX_BACKOFF_S), (60, 8.0)])
def test_the_backoff_doubles_up_to_eight_seconds_and_spreads_by_half(attempt: int, base: float) -> None:
    waits = [wait_s(attempt, None) for _ in range(300)]
    assert base <= min(waits) <= base * 1.05  # of 300 throws the least is that low but for one in 10^13 runs
    assert base * 1.45 <= max(waits) <= base * 1.5


@pytest.mark.parametrize("attempt", [0, 7])
def test_no_wait_is_shorter_than_what_the_server_asked_for(attempt: int) -> None:
    waits = [wait_s(attempt, 3.0) for _ in range(300)]
    assert 3.0 <= min(waits) < max(waits) <= 4.5


def test_a_server_that_asks_for_no_wait_gets_none() -> None:
    assert wait_s(4, 0.0) == 0.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("Wed, 25 Nov 2026 12:00:30 GMT", 30.0),
        ("Wednesday, 25-Nov-26 12:01:00 GMT", 60.0),
        ("Wed, 25 Nov 2026 14:00:30 +0200", 30.0),
        ("Wed, 25 Nov 2026 12:00:30", 30.0),
        ("Wed, 25 Nov 2026 12:00:30 -0000", 30.0),
        ("Wed, 25 Nov 2026 11:59:00 GMT", 0.0),
        ("0.5", 0.5),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e400", None),
        ("²", None),
        ("9" * 5000, None),
        ("Wed, 99 Nov 2026 12:00:30 GMT", None),
        ("Wed, 25 Nov 99999999999999999999 12:00:30 GMT", None),
    ],
)
def test_a_retry_after_header_is_a_number_or_a_date_or_nothing(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds


def test_a_new_budget_has_ten_retries() -> None:
    budget = RetryBudget()
    assert [budget.spend() for _ in range(11)] == [True] * 10 + [False]


def test_five_requests_earn_one_retry() -> None:
    budget = RetryBudget(reserve=2)
    assert (budget.spend(), budget.spend(), budget.spend()) == (True, True, False)
    for _ in range(4):
        budget.earn()
    assert not budget.spend()
    for _ in range(2):  # one more than 1 / 0.2, since 5 times 0.2 may come to just under 1 in binary
        budget.earn()
    assert (budget.spend(), budget.spend()) == (True, False)


def test_quiet_hours_save_up_no_more_than_the_reserve() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == 10


def test_retries_add_a_fifth_to_the_load_at_most() -> None:
    budget, retries = RetryBudget(), 0
    for _ in range(1_000):
        budget.earn()
        retries += budget.spend() + budget.spend()  # each request would retry twice
    assert 190 <= retries <= 210
