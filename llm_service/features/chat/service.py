"""What happens to a request: a place at the door, a backend's answer, and that answer passed on. Knows no HTTP."""

import asyncio
import logging
import time

from llm_service.admission.door import Door
from llm_service.admission.limits import Account
from llm_service.core.envelope import error_event
from llm_service.core.errors import ClientLeft
from llm_service.core.settings import LlmSettings
from llm_service.features.chat.caller import Caller
from llm_service.features.chat.events import EventStream
from llm_service.features.chat.metrics import GatewayMetrics, Observation
from llm_service.features.chat.schemas import ModelRequest
from llm_service.features.chat.stream import StreamRelay
from llm_service.features.chat.usage import Usage, guessed, usage_in
from llm_service.providers.pool import Placed, Pool, Request
from service_kit.errors import ServiceError, Upstream

_log = logging.getLogger("llm_service.chat")


class ChatService:
    """Forwards requests to the pool's backends."""

    def __init__(self, pool: Pool, door: Door, settings: LlmSettings, metrics: GatewayMetrics):
        """Asks nothing yet."""
        self._pool = pool
        self._door = door
        self._metrics = metrics
        self._first_token_s = settings.llm_first_token_timeout_s
        self._idle_s = settings.llm_idle_timeout_s
        self._total_s = settings.llm_total_timeout_s
        self._keepalive_s = settings.llm_keepalive_s

    async def serve(self, request: ModelRequest, caller: Caller, account: Account | None) -> None:
        """Answer a request. account: who pays for the tokens.

        Fails as Pool.send and Door.enter do while nothing has gone out, and with ClientLeft; once the answer has begun,
        a failure is an error event in it, with no [DONE].
        """
        with self._metrics.observe(request.model) as seen:
            async with caller:
                await self._enter(seen)
                try:
                    await self._answer(request, caller, account, seen)
                except ServiceError as exc:
                    if not caller.has_begun:
                        raise
                    await self._break_off(exc, caller, seen)
                finally:
                    self._door.leave()

    async def _enter(self, seen: Observation) -> None:
        await self._door.enter()
        seen.elsewhere_s += time.perf_counter() - seen.started

    async def _answer(self, request: ModelRequest, caller: Caller, account: Account | None, seen: Observation) -> None:
        wanted = self._wanted(request, seen)
        try:
            placed = await self._place(wanted, request.model, caller, seen)
        except asyncio.CancelledError:
            if account is not None:  # a backend was reading the question, if not writing the answer
                account.spend(guessed(len(request.raw), 0).total)
            raise
        usage: Usage | None = None
        pieces = 0
        try:
            if placed.answer.is_stream:
                events = EventStream(keeps_usage=request.wants_usage)
                try:
                    await StreamRelay(placed, events, caller, seen).run(self._idle_s, wanted.expires_at)
                finally:
                    usage, pieces = events.usage, events.pieces
            else:
                usage = usage_in(placed.answer.first)
                await self._send_whole(placed.answer.first, caller)
        finally:
            placed.close()
            if usage is not None:
                self._metrics.count_tokens(placed.target, usage)
            if account is not None:
                account.spend((usage or guessed(len(request.raw), pieces)).total)

    def _wanted(self, request: ModelRequest, seen: Observation) -> Request:
        now = asyncio.get_running_loop().time()
        expires_at = now + self._total_s
        first_by = min(expires_at, now + self._first_token_s) if request.is_stream else expires_at
        return Request(request.route.path, request.body_for, seen.aim, request.is_stream, first_by, expires_at)

    async def _place(self, wanted: Request, model: str | None, caller: Caller, seen: Observation) -> Placed:
        asked_at = time.perf_counter()
        if wanted.is_stream:
            caller.keep_alive(self._keepalive_s)
        placed: Placed | None = None
        try:
            placed = await self._pool.send(model, wanted)
        finally:
            seen.elsewhere_s += time.perf_counter() - asked_at
            try:
                await caller.stop_keepalive()
            except BaseException:  # he leaves in this very moment, and nobody else knows of the answer yet
                if placed is not None:
                    placed.close()
                raise
        seen.begin()
        return placed

    async def _send_whole(self, payload: bytes, caller: Caller) -> None:
        if caller.has_begun:  # with a comment, as a stream
            raise Upstream("the backend took long and then answered a streamed request with one JSON body")
        await caller.answer(payload, self._idle_s)

    async def _break_off(self, failure: ServiceError, caller: Caller, seen: Observation) -> None:
        seen.outcome = failure.code
        target = seen.target
        fields = {"code": failure.code, "model": target.name if target is not None else "", "detail": failure.logged}
        _log.warning("stream broke", extra=fields)
        try:
            async with asyncio.timeout(self._idle_s):
                await caller.end(error_event(failure))
        except TimeoutError as exc:
            raise ClientLeft(f"the client read nothing for {self._idle_s:g} s") from exc
