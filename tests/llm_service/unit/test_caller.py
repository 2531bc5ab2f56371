"""The caller's side of a request, at the moments at which two things happen at once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Message

from llm_service.admission.door import Door
from llm_service.core.errors import ClientLeft
from llm_service.core.settings import LlmSettings
from llm_service.features.chat.caller import KEEPALIVE, Caller
from llm_service.features.chat.metrics import GatewayMetrics
from llm_service.features.chat.schemas import CHAT, Limits, parse_request
from llm_service.features.chat.service import ChatService
from llm_service.providers.base import Call
from llm_service.providers.pool import Pool
from tests.support.backends import MemoryBackend, WholeAnswer

TOKEN = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

Send = Callable[[Message], Awaitable[None]]


class Gateway:
    """A service before one backend, and a way in without HTTP."""

    def __init__(self, backend: MemoryBackend, **settings: float):
        told = LlmSettings(_env_file=None, **settings)  # type: ignore[arg-type]
        backends = (backend.backend(models=("m",)),)
        self.pool = Pool(lambda: backends, lambda _: backend)
        self.door = Door(1, 0, 1.0)
        self.has_left = asyncio.Event()
        self._service = ChatService(self.pool, self.door, told, GatewayMetrics(CollectorRegistry()))

    async def ask(self, send: Send) -> None:
        request = parse_request(CHAT, b'{"model":"m","stream":true,"messages":[{}]}', Limits(10, 1))
        await self._service.serve(request, Caller(self._receive, send), None)

    async def _receive(self) -> Message:
        await self.has_left.wait()
        return {"type": "http.disconnect"}


async def test_who_leaves_in_the_moment_of_the_first_byte_leaves_nothing_behind() -> None:
    """Found here: a comment waited for room, his leaving was noticed while it was stopped, and the answer was lost."""
    answer = WholeAnswer(TOKEN, is_stream=True)

    async def slowly(_: Call) -> WholeAnswer:
        await asyncio.sleep(0.1)
        return answer

    gateway = Gateway(MemoryBackend("gpu", [slowly]), llm_keepalive_s=0.01)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                gateway.has_left.set()
                await asyncio.sleep(0.05)
                raise

    with pytest.raises(ClientLeft):
        await gateway.ask(send)
    assert answer.closed
    assert gateway.pool.members[0].in_flight == 0
    assert gateway.door.in_work == 0


async def test_who_does_not_read_the_end_of_a_stream_is_not_the_backends_fault() -> None:
    """Found here: what came before filled his buffers, the end waited for room, and the backend was called silent."""
    gateway = Gateway(MemoryBackend("gpu", [WholeAnswer(TOKEN + END, is_stream=True)]), llm_idle_timeout_s=0.1)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    with pytest.raises(ClientLeft, match="read nothing"):
        await gateway.ask(send)
    assert gateway.pool.members[0].breaker.last_failure is None
    assert (gateway.pool.members[0].in_flight, gateway.door.in_work) == (0, 0)


async def test_silence_after_a_comment_that_waited_for_room_is_the_backends() -> None:
    """Nothing has been given to the client since: it is not he who does not read."""
    answer = WholeAnswer(b'data: {"choices":', is_stream=True)  # an event that is never whole
    answer.more = asyncio.Event().wait  # type: ignore[assignment, method-assign]

    async def slowly(_: Call) -> WholeAnswer:
        await asyncio.sleep(0.1)
        return answer

    gateway = Gateway(MemoryBackend("gpu", [slowly]), llm_keepalive_s=0.01, llm_idle_timeout_s=0.1)
    told = b""

    async def send(message: Message) -> None:
        nonlocal told
        told += message.get("body", b"")
        if message.get("body") == KEEPALIVE:
            await asyncio.Event().wait()  # there is no room for it yet

    await gateway.ask(send)
    assert b"was silent for 0.1 s" in told
    assert gateway.pool.members[0].breaker.last_failure is not None
