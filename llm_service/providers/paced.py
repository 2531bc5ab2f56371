"""Answers that are made here and not by a server: at a stated pace, for the scripted provider and for replays."""

import asyncio
import math
from collections.abc import Iterator

from service_kit.errors import DeadlineExceeded, ServiceError, Upstream

# What comes when: seconds after the question (math.inf: never), and bytes or the failure that ends the stream.
Step = tuple[float, bytes | ServiceError]

# A stream without a pace never waits; now and then it lets others run, as reading from a socket would.
_STEPS_A_TURN = 16


class WholeAnswer:
    """One JSON body."""

    is_stream = False

    def __init__(self, body: bytes) -> None:
        """body: all of it."""
        self.first = body

    async def more(self) -> bytes:
        """Nothing follows."""
        return b""

    def close(self) -> None:
        """Nothing is held."""


class PacedStream:
    """Server-sent events that come when their steps say so, counted from `began` (the running loop's time)."""

    is_stream = True

    def __init__(self, first: bytes, steps: Iterator[Step], began: float) -> None:
        """first: the first bytes, which are due already. steps: what follows."""
        self.first = first
        self._steps = steps
        self._began = began
        self._next: Step | None = None
        self._alarm: asyncio.Future[None] | None = None
        self._is_closed = False
        self._taken = 0

    async def more(self) -> bytes:
        """The next step's bytes, b"" after the last. A cancelled call loses nothing: the next one waits for the same.

        Fails with the failure that the step is, or with Upstream once the answer is closed, as a closed connection.
        """
        if self._next is None:
            self._next = next(self._steps, (0.0, b""))
        due_s, what = self._next
        if due_s > 0:
            await self._until(due_s)
        elif self._taken % _STEPS_A_TURN == 0:
            await asyncio.sleep(0)
        if self._is_closed:
            raise Upstream("the answer was closed before its end")
        self._taken += 1
        self._next = None
        if isinstance(what, ServiceError):
            self.close()
            raise what
        return what

    def close(self) -> None:
        """Nothing more is made; a `more` that waits fails at once."""
        self._is_closed = True
        self._steps = iter(())
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    async def _until(self, due_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._is_closed or (self._began + due_s) <= loop.time():
            return
        alarm = self._alarm = loop.create_future()
        # A call_at for infinity would never fire, and stay in the loop's heap.
        timer = loop.call_at(self._began + due_s, _ring, alarm) if due_s < math.inf else None
        try:
            await alarm
        finally:
            self._alarm = None
            if timer is not None:
                timer.cancel()


def _ring(alarm: asyncio.Future[None]) -> None:
    if not alarm.done():
        alarm.set_result(None)


async def wait(began: float, due_s: float, deadline: float, address: str) -> None:
    """Let the time pass until something is due. Fails with DeadlineExceeded where `deadline` (loop time) is before."""
    if due_s <= 0:
        return
    due, now = began + due_s, asyncio.get_running_loop().time()
    await asyncio.sleep(max(0.0, min(due, deadline) - now))
    if due > deadline:
        raise DeadlineExceeded(f"{address} did not answer in time")
