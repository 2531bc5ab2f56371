"""When another attempt follows a failed one, and how long to wait before it. Pure but for the dice.

Retries are made here and nowhere else: rag_app and OpenAI's client beside it are told to make none, because retries
multiply (3 by 3 attempts are 9).
"""

import random

BACKOFF_S = 0.25
MAX_BACKOFF_S = 8.0

# A caller had better hear of a longer wait than sit through it.
MAX_WAIT_S = 20.0

# Of ten requests that came, one or two may be tried again; in an outage retries then add a fifth to the load, where
# two each would triple it. Finagle's and Envoy's budgets are of this kind, and of this size.
RETRY_RATIO = 0.2
RETRY_RESERVE = 10.0


def wait_s(attempt: int, retry_after_s: float | None) -> float:
    """Seconds before attempt number `attempt` + 1 at the same backend; attempts count from 0.

    What the server asked for, or 0.25, 0.5, 1 s and so on up to 8; plus up to half again. The jitter is added and never
    taken off, since a server that names a time means "not before".
    """
    base = retry_after_s if retry_after_s is not None else min(BACKOFF_S * 2**attempt, MAX_BACKOFF_S)
    return base * (1 + random.random() / 2)


class RetryBudget:
    """How many retries all requests together may still make."""

    __slots__ = ("_left", "_reserve")

    def __init__(self, reserve: float = RETRY_RESERVE):
        """reserve: retries that are there from the start, and the most that are saved up."""
        self._reserve = reserve
        self._left = reserve

    def earn(self) -> None:
        """A request came."""
        if self._left < self._reserve:
            self._left = min(self._left + RETRY_RATIO, self._reserve)

    def spend(self) -> bool:
        """Take one retry; False where none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
