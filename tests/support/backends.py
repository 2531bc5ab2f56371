"""Backends in memory, which do what a test tells them to and remember what they were asked; and a clock that is set."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_service.core.backends import Backend
from llm_service.core.errors import Refused
from llm_service.providers.base import AttemptFailed, Call, Fault
from service_kit.errors import DeadlineExceeded, NotFound, ServiceError, Unavailable, Upstream


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class WholeAnswer:
    """An answer that is there at once, as JSON or as a stream of one piece."""

    first: bytes = b"{}"
    is_stream: bool = False
    closed: int = 0

    async def more(self) -> bytes:
        return b""

    def close(self) -> None:
        self.closed += 1


Deed = BaseException | WholeAnswer | Callable[[Call], Awaitable[WholeAnswer]]


@dataclass
class MemoryBackend:
    """`deeds` are done in turn, the last one for ever: an answer, a failure, or whatever a function does.

    `lists` are given likewise: names or objects of models, or the failure to list them.
    """

    name: str
    deeds: list[Deed] = field(default_factory=lambda: [WholeAnswer()])
    lists: list[Sequence[str | dict[str, Any]] | Exception] = field(default_factory=lambda: [["m"]])
    calls: list[Call] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    listings: int = 0
    list_gate: asyncio.Event | None = None

    @property
    def address(self) -> str:
        return f"http://{self.name}/v1"

    @property
    def asked(self) -> int:
        return len(self.calls)

    async def models(self) -> tuple[dict[str, Any], ...]:
        self.listings += 1
        if self.list_gate is not None:
            await self.list_gate.wait()
        listed = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(listed, Exception):
            raise listed
        return tuple({"id": model, "object": "model"} if isinstance(model, str) else model for model in listed)

    async def send(self, call: Call) -> WholeAnswer:
        self.calls.append(call)
        self.times.append(asyncio.get_running_loop().time())
        deed = self.deeds.pop(0) if len(self.deeds) > 1 else self.deeds[0]
        if isinstance(deed, BaseException):
            raise deed
        return deed if isinstance(deed, WholeAnswer) else await deed(call)

    async def fetch(self, path: str) -> bytes:
        raise NotFound(f"{self.address} has no {path}")

    async def close(self) -> None: ...

    def backend(self, **fields: Any) -> Backend:
        return Backend(self.name, self.address, **fields)


def down(told: str = "it is down", logged: str | None = None) -> AttemptFailed:
    return AttemptFailed(Unavailable(told, retry_after_s=1, logged=logged), Fault.DOWN)


def broken(retry_after_s: float | None = None) -> AttemptFailed:
    return AttemptFailed(Upstream("it answered 500"), Fault.DOWN, retry_after_s)


def busy(retry_after_s: float | None = None, told: str = "Slow down.") -> AttemptFailed:
    whole = None if retry_after_s is None else max(1, round(retry_after_s))
    return AttemptFailed(Refused(429, told, retry_after_s=whole), Fault.BUSY, retry_after_s)


def wrong_key() -> AttemptFailed:
    return AttemptFailed(Upstream("it refused the key (401); check SOME_KEY"), Fault.KEY)


def late() -> ServiceError:
    return DeadlineExceeded("it did not give its first token within LLM_FIRST_TOKEN_TIMEOUT_S")
