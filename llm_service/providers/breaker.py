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

# A slip of a server's, such as a date in place of seconds, must not take it out for days; once an hour is no load.
MAX_COOL_S = 3600.0

# A backend that refused its key is asked again after this, or at once where nothing else serves the model.
KEY_REST_S = 30.0


class State(IntEnum):
    """What the metric `llm_breaker_state` shows."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2
    COOLING = 3


class Breaker:
    """One backend's. Each attempt is `begin`, then one of `succeed`, `fail` and `abandon`.

    `begin` gives the number of a probe, 0 for another attempt, which its end hands back: attempts from before an
    outage end during it, and must not pass for the probe.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """clock: seconds, never going back."""
        self._clock = clock
        self._probes = 0
        self._reset()

    def _reset(self) -> None:
        self._failures = 0
        self._openings = 0
        self._open_until: float | None = None
        self._probe = 0
        self._cool_until = 0.0
        self._key_rests_until = 0.0
        self.last_failure: AttemptFailed | None = None

    def _recover(self) -> None:
        # While it cools nobody begins, so that this attempt is from before its 429, and says nothing about its wish.
        cool_until, failure = self._cool_until, self.last_failure
        self._reset()
        if self._clock() < cool_until:
            self._cool_until, self.last_failure = cool_until, failure

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
            waits.append(COOL_S if self._probe and now >= self._open_until else self._open_until - now)
        return max(waits)

    def begin(self) -> int:
        """An attempt begins; in the half-open state it is the probe, which has a number from 1 on."""
        if self._open_until is None:
            return 0
        self._probes += 1
        self._probe = self._probes
        return self._probe

    def succeed(self) -> None:
        """It answered, if only that the request was wrong."""
        if self._failures or self.last_failure is not None:
            self._recover()

    def begin_stream(self) -> None:
        """A stream's first byte is here: whatever was the matter is over. Whether it ends well is yet to be seen.

        So failures are still counted: who breaks off five streams in a row is let alone, too.
        """
        if self.last_failure is not None:
            failures, openings = self._failures, self._openings
            self._recover()
            self._failures, self._openings = min(failures, FAILURES_TO_OPEN - 1), openings

    def end_stream(self) -> None:
        """A stream ended and did not break off. In an outage that says nothing: a server that stops still ends them."""
        if self._open_until is None:
            self._failures = self._openings = 0

    def fail(self, failure: AttemptFailed, probe: int = 0) -> None:
        """It is at fault. probe: as `begin` gave it."""
        now = self._clock()
        self.last_failure = failure
        is_probe = self._end(probe)
        if failure.fault is Fault.BUSY:
            asked = COOL_S if failure.retry_after_s is None else failure.retry_after_s
            self._cool_until = max(self._cool_until, now + min(asked, MAX_COOL_S))
            self._close()  # it is alive
        elif failure.fault is Fault.KEY:
            self._key_rests_until = now + KEY_REST_S
            self._close()
        else:
            self._failures += 1
            if is_probe or (self._open_until is None and self._failures >= FAILURES_TO_OPEN):
                self._open(now)

    def abandon(self, probe: int) -> None:
        """Nobody waited for its answer: that says nothing about it, and the next one may probe."""
        self._end(probe)

    def _end(self, probe: int) -> bool:
        """Whether this is the probe that is out; it no longer is."""
        is_it = probe != 0 and probe == self._probe
        if is_it:
            self._probe = 0
        return is_it

    def _open(self, now: float) -> None:
        self._openings += 1
        longest = min(OPEN_S * 2 ** (self._openings - 1), MAX_OPEN_S)
        # Gateways that opened together must not probe together.
        self._open_until = now + longest * (1 - random.random() / 4)

    def _close(self) -> None:
        self._failures, self._openings, self._open_until, self._probe = 0, 0, None, 0
