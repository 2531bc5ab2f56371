"""One stream on its way from a backend to the caller: bytes as they come, with a deadline for each silence."""

import asyncio
import time

from llm_service.core.errors import ClientLeft
from llm_service.features.chat.caller import Caller
from llm_service.features.chat.events import EventStream
from llm_service.features.chat.metrics import Observation
from llm_service.providers.pool import Placed
from service_kit.errors import DeadlineExceeded, Upstream

# A deadline is set anew when this part of it has passed, and not for every token: that costs 2 us.
_SLACK = 0.05

# After [DONE] only the end of the connection's use is to come; where it does not, the connection is closed.
_DRAIN_S = 1.0


class StreamRelay:
    """Passes on one answer. `run` fails with ClientLeft, Upstream and DeadlineExceeded, or as an error event says."""

    def __init__(self, placed: Placed, events: EventStream, caller: Caller, seen: Observation):
        """placed: a stream. events: reads what passes. seen: told of each silence."""
        self._placed = placed
        self._events = events
        self._caller = caller
        self._seen = seen
        self._is_over = False

    async def run(self, idle_s: float, expires_at: float) -> None:
        """The whole stream, each chunk as soon as the client has taken the one before.

        idle_s: the longest silence, of the backend or of a client that does not read. expires_at: the loop's time.
        """
        loop_time = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(min(loop_time() + idle_s, expires_at)) as deadline:
                await self._pass_on(deadline, idle_s, expires_at)
        except TimeoutError as exc:
            if self._is_over:
                return
            if self._caller.is_sending:
                raise ClientLeft(f"the client read nothing for {idle_s:g} s") from exc
            raise self._too_late(idle_s, is_idle=loop_time() < expires_at) from exc
        except Upstream as exc:
            if self._is_over:
                return
            if self._events.error is None:
                self._placed.broke(exc)
            raise

    async def _pass_on(self, deadline: asyncio.Timeout, idle_s: float, expires_at: float) -> None:
        answer, events, caller, seen = self._placed.answer, self._events, self._caller, self._seen
        loop_time, now = asyncio.get_running_loop().time, time.perf_counter
        moved_at, came_at = loop_time(), now()
        chunk = answer.first
        while chunk:
            out = events.feed(chunk)
            if events.is_done:
                await caller.end(out)
                self._is_over = True
                deadline.reschedule(loop_time() + _DRAIN_S)
                while await answer.more():  # to the end, so that the connection can serve another request
                    pass
                return
            if out:
                await caller.pass_on(out)
            if events.error is not None:
                raise self._placed.reported(events.error)
            asked_at = now()
            seen.sent(asked_at - came_at)
            chunk = await answer.more()
            came_at = now()
            seen.waited(came_at - asked_at)
            if loop_time() - moved_at > idle_s * _SLACK:
                moved_at = loop_time()
                deadline.reschedule(min(moved_at + idle_s, expires_at))
        if not events.is_finished:
            raise Upstream(f"{self._placed.address} ended its stream before the answer was finished")
        await caller.end(events.rest())

    def _too_late(self, idle_s: float, *, is_idle: bool) -> DeadlineExceeded:
        address = self._placed.address
        if not is_idle:
            return DeadlineExceeded(f"{address} did not end its stream within LLM_TOTAL_TIMEOUT_S")
        late = DeadlineExceeded(f"{address} was silent for {idle_s:g} s within its stream (LLM_IDLE_TIMEOUT_S)")
        self._placed.broke(late)
        return late
