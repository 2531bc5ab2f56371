"""Whether a backend is worth asking now: a circuit breaker. Pure but for its clock and its dice."""

import random
import time
from collections.abc import Callable
from enum import IntEnum

from llm_service.providers.base import AttemptFailed, Fault

# A single lost connection is no outage; after five in a row callers are spared the wait for a sixth.
FAILURES_TO_OPEN = 5

# From the first opening on, doubled each time a probe fails. A model takes half a minute to load.
OPEN_S = 1.0
MAX_OPEN_S = 30.0

# For a 429 that names no time.
COOL_S = 1.0

# A backend that refused its key is asked again after this, or at once where nothing else serves the model.
KEY_REST_S = 30.0


class State(IntEnum):
    """What the metric `llm_breaker_state` shows."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2
    COOLING = 3


class Breaker:
    """One backend's. Each attempt is `begin`, then one of `succeed`, `fail` and `abandon`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """clock: seconds, never going back."""
        self._clock = clock
        self._reset()

    def _reset(self) -> None:
        self._failures = 0
        self._openings = 0
        self._open_until: float | None = None
        self._is_probing = False
        self._cool_until = 0.0
        self._key_rests_until = 0.0
        self.last_failure: AttemptFailed | None = None

    @property
    def state(self) -> State:
        """Now."""
        now = self._clock()
        if self._open_until is not None:
            return State.OPEN if now < self._open_until else State.HALF_OPEN
        return State.COOLING if now < self._cool_until else State.CLOSED

    @property
    def is_free(self) -> bool:
        """Whether an attempt may begin: it is closed, or half-open and nobody probes."""
        if self._open_until is None and not self._cool_until:
            return True
        return self.wait_s() == 0.0

    @property
    def is_key_refused(self) -> bool:
        """Whether it refused its key and has not answered since."""
        return self.last_failure is not None and self.last_failure.fault is Fault.KEY

    @property
    def is_key_resting(self) -> bool:
        """Whether another backend should be asked first, because this one refused its key a moment ago."""
        return self.is_key_refused and self._clock() < self._key_rests_until

    def wait_s(self) -> float:
        """Seconds until an attempt may begin; 0: now. While somebody probes it is a guess."""
        now = self._clock()
        waits = [self._cool_until - now, 0.0]
        if self._open_until is not None:
            waits.append(COOL_S if self._is_probing and now >= self._open_until else self._open_until - now)
        return max(waits)

    def begin(self) -> None:
        """An attempt begins; in the half-open state it is the probe."""
        if self._open_until is not None:
            self._is_probing = True

    def succeed(self) -> None:
        """It answered, if only that the request was wrong."""
        if self.last_failure is not None:
            self._reset()

    def fail(self, failure: AttemptFailed) -> None:
        """It is at fault."""
        now = self._clock()
        self.last_failure = failure
        was_probing, self._is_probing = self._is_probing, False
        if failure.fault is Fault.BUSY:
            asked = COOL_S if failure.retry_after_s is None else failure.retry_after_s
            self._cool_until = max(self._cool_until, now + asked)
            self._close()  # it is alive
        elif failure.fault is Fault.KEY:
            self._key_rests_until = now + KEY_REST_S
            self._close()
        else:
            self._failures += 1
            if was_probing or (self._open_until is None and self._failures >= FAILURES_TO_OPEN):
                self._open(now)

    def abandon(self) -> None:
        """Nobody waited for its answer: that says nothing about it, and the next one may probe."""
        self._is_probing = False

    def _open(self, now: float) -> None:
        self._openings += 1
        longest = min(OPEN_S * 2 ** (self._openings - 1), MAX_OPEN_S)
        # Gateways that opened together must not probe together.
        self._open_until = now + longest * (1 - random.random() / 4)

    def _close(self) -> None:
        self._failures, self._openings, self._open_until = 0, 0, None
