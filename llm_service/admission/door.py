"""How many requests are in work and how many wait, and how many bytes of their bodies are held. One event loop's."""

import asyncio
import math
from collections import OrderedDict

from service_kit.errors import Overloaded

_RATE_LIMITED = {"type": "rate_limit_error", "code": "rate_limit_exceeded"}

# The least that the header can say: nobody knows how soon a body leaves, and few stay for long.
_RETRY_BODIES_S = 1


class Door:
    """Lets in so many at a time. Others wait, up to so many and for so long, first come first served.

    Whoever entered must leave, once: `await door.enter()`, then `door.leave()` in a `finally`.
    """

    __slots__ = ("_queue", "_queue_timeout_s", "in_work", "max_concurrent", "max_queued")

    def __init__(self, max_concurrent: int, max_queued: int, queue_timeout_s: float):
        """max_concurrent: from 1 on. max_queued: 0 for no queue."""
        self.max_concurrent = max_concurrent
        self.max_queued = max_queued
        self._queue_timeout_s = queue_timeout_s
        # A waiter's future, whose result says whether it got a place -> the timer that ends its waiting. From the front
        # and the middle it is removed in O(1): of a full queue all may leave at once.
        self._queue: OrderedDict[asyncio.Future[bool], asyncio.TimerHandle] = OrderedDict()
        self.in_work = 0

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    async def enter(self) -> None:
        """Take a place, at once where one is free, else when it is one's turn.

        The free way makes no task and no future: 0.2 us, leave() included.
        Fails with Overloaded where the queue is full or the time is over. One who is cancelled has no place.
        """
        # While anybody waits all places are taken (leave() passes them on), so nobody is overtaken here.
        if self.in_work < self.max_concurrent:
            self.in_work += 1
            return
        if len(self._queue) >= self.max_queued:
            raise self._refusal(f"{self.in_work} requests are in work and {self.waiting} wait, as many as may")
        await self._wait()

    def leave(self) -> None:
        """Give a place back. It goes to the first who waits."""
        while self._queue:
            waiter, timer = self._queue.popitem(last=False)
            timer.cancel()
            if not waiter.done():  # else it was cancelled just now, and has not run since
                waiter.set_result(True)
                return
        self.in_work -= 1

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._queue[waiter] = loop.call_later(self._queue_timeout_s, self._give_up, waiter)
        try:
            has_place = await waiter
        except BaseException:
            timer = self._queue.pop(waiter, None)
            if timer is not None:
                timer.cancel()
            elif not waiter.cancelled() and waiter.result():
                self.leave()  # cancelled between getting the place and running
            raise
        if not has_place:
            waited = f"no place became free in {self._queue_timeout_s:g} s"
            raise self._refusal(f"{waited}: {self.in_work} requests are in work and {self.waiting} wait")

    def _give_up(self, waiter: asyncio.Future[bool]) -> None:
        # A result, and no cancelling: it is set once, so that one waiter cannot both be refused and get a place.
        if not waiter.done():
            del self._queue[waiter]
            waiter.set_result(False)

    def _refusal(self, why: str) -> Overloaded:
        # By then all who wait now have been served or refused.
        retry_after_s = max(1, math.ceil(self._queue_timeout_s))
        message = f"The gateway is busy: {why}. Please try again in {retry_after_s}s."
        return Overloaded(message, retry_after_s=retry_after_s, details=_RATE_LIMITED)


class BytesBudget:
    """How many bytes of request bodies may be held at once, over all requests."""

    __slots__ = ("_max_bytes", "held")

    def __init__(self, max_bytes: int):
        """max_bytes: of all together; at least the largest single body, which else is never let in."""
        self._max_bytes = max_bytes
        self.held = 0

    def open(self) -> "Holding":
        """A request's share, empty yet. With one add() and close() it takes 0.3 us."""
        return Holding(self)

    def take(self, count: int) -> None:
        """Fails with Overloaded, and takes nothing, where that would be too many."""
        if self.held + count > self._max_bytes:
            raise Overloaded(
                f"The gateway holds {self.held} bytes of requests, and {count} more would be over {self._max_bytes}. "
                f"Please try again in {_RETRY_BODIES_S}s.",
                retry_after_s=_RETRY_BODIES_S,
                details=_RATE_LIMITED,
            )
        self.held += count

    def give(self, count: int) -> None:
        """Give bytes back."""
        self.held -= count


class Holding:
    """The bytes that one request holds. Close it in a `finally`, or use it as a `with` block."""

    __slots__ = ("_budget", "count")

    def __init__(self, budget: BytesBudget):
        """Holds nothing."""
        self._budget = budget
        self.count = 0

    def add(self, count: int) -> None:
        """Hold more: a chunk, or a whole body by its declared length. Fails with Overloaded, keeping what it holds."""
        self._budget.take(count)
        self.count += count

    def close(self) -> None:
        """Give all back. A second time does nothing."""
        self._budget.give(self.count)
        self.count = 0

    def __enter__(self) -> "Holding":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
