"""How much a key may ask for: requests and tokens a minute, as token buckets that refill all the time."""

import math
import time
from collections.abc import Callable

from llm_service.admission.keys import Key
from service_kit.errors import Overloaded

# A bucket holds a minute's worth: whoever was silent for that long may use it at once.
_BURST_S = 60.0

# Times are off by rounding (1e-9 s after a month); without this, 6 s would be told as 7.
_ROUNDING_S = 1e-6

_ABBREVIATIONS = {"requests": "RPM", "tokens": "TPM"}


class _Bucket:
    """Kept as one time, up to which everything that has been taken is paid for; a debt lies in the future."""

    __slots__ = ("_cost_s", "_paid_s", "per_minute")

    def __init__(self, per_minute: int, now_s: float, held: float = math.inf):
        """held: what may be taken at once; above per_minute: that much; below zero: a debt."""
        self.per_minute = per_minute
        self._cost_s = 60 / per_minute
        self._paid_s = now_s - held * self._cost_s

    def held(self, now_s: float) -> float:
        return min(now_s - self._paid_s, _BURST_S) / self._cost_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until one can be taken; 0 or less: now."""
        return self._paid_s + self._cost_s - now_s - _ROUNDING_S

    def take(self, count: int, now_s: float) -> None:
        self._paid_s = max(self._paid_s, now_s - _BURST_S) + count * self._cost_s


class Account:
    """What one key has left."""

    __slots__ = ("_clock", "_requests", "_tokens", "key")

    def __init__(self, key: Key, clock: Callable[[], float]):
        """Full buckets."""
        now_s = clock()
        self.key = key
        self._clock = clock
        self._requests = _changed(None, key.requests_per_minute, now_s)
        self._tokens = _changed(None, key.tokens_per_minute, now_s)

    def admit(self) -> None:
        """Take one request, or fail with Overloaded and take nothing."""
        requests, tokens = self._requests, self._tokens
        if requests is None and tokens is None:
            return
        now_s = self._clock()
        if tokens is not None and (wait_s := tokens.wait_s(now_s)) > 0:
            raise self._refusal("tokens", tokens.per_minute, wait_s)
        if requests is not None:
            if (wait_s := requests.wait_s(now_s)) > 0:
                raise self._refusal("requests", requests.per_minute, wait_s)
            requests.take(1, now_s)

    def spend(self, tokens: int) -> None:
        """Take what an answer used, prompt and completion; takes 0.2 us. Nobody knew it before, so it may be a debt."""
        if self._tokens is not None:
            self._tokens.take(tokens, self._clock())

    def change(self, key: Key) -> None:
        """The limits are now those of `key`. What was left is left, up to the new limits; a debt stays one."""
        now_s = self._clock()
        self.key = key
        self._requests = _changed(self._requests, key.requests_per_minute, now_s)
        self._tokens = _changed(self._tokens, key.tokens_per_minute, now_s)

    def _refusal(self, kind: str, per_minute: int, wait_s: float) -> Overloaded:
        retry_after_s = max(1, math.ceil(wait_s))
        return Overloaded(
            f"Rate limit reached for key {self.key.name!r} on {kind} per min ({_ABBREVIATIONS[kind]}): "
            f"Limit {per_minute}. Please try again in {retry_after_s}s.",
            retry_after_s=retry_after_s,
            details={"type": kind, "code": "rate_limit_exceeded"},
        )


def _changed(bucket: _Bucket | None, per_minute: int | None, now_s: float) -> _Bucket | None:
    if per_minute is None:
        return None
    return _Bucket(per_minute, now_s) if bucket is None else _Bucket(per_minute, now_s, bucket.held(now_s))


class RateLimits:
    """The account of each key that came by.

    An account outlives its key's removal from the file (some 300 bytes until the process ends), so that a key that is
    put back comes with its debt. It is told by name and hash: a new key under an old name begins anew.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """clock: seconds, never going back."""
        self._clock = clock
        self._accounts: dict[bytes, Account] = {}

    def admit(self, key: Key) -> Account:
        """Let one request in; its answer's tokens go to spend(). Takes 0.4 us with both limits, 0.1 with none.

        Fails with Overloaded, in OpenAI's words, with the seconds after which it would pass if nobody else used the
        key. Requests that are in work together have each been let in before any of them has spent its tokens.
        """
        account = self._accounts.get(key.digest)
        if account is None or account.key is not key:
            account = self._accounts[key.digest] = self._account(account, key)
        account.admit()
        return account

    def _account(self, known: Account | None, key: Key) -> Account:
        if known is None or known.key.name != key.name:
            return Account(key, self._clock)
        known.change(key)
        return known
