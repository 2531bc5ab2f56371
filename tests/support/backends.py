"""Backends in memory, which do what a test tells them to and remember it; pools and catalogs of them; and a clock."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from llm_service.core.backends import Backend
from llm_service.core.errors import Refused
from llm_service.providers.base import AttemptFailed, Call, Fault
from llm_service.providers.breaker import Breaker, State
from llm_service.providers.catalog import Catalog, Member, Target
from llm_service.providers.pool import Placed, Pool, Request
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


def pool_of(
    *members: MemoryBackend | tuple[MemoryBackend, dict[str, object]],
    retried: list[tuple[str, Fault]] | None = None,
    clock: Clock | None = None,
    **options: int,
) -> Pool:
    """A pool over these, each with fields of its Backend where they matter. retried: what on_retry is told."""
    pairs = [member if isinstance(member, tuple) else (member, {}) for member in members]
    by_name = {member.name: member for member, _ in pairs}
    backends = tuple(member.backend(**fields) for member, fields in pairs)

    def note(target: Target, fault: Fault) -> None:
        if retried is not None:
            retried.append((target.member.backend.name, fault))

    pool = Pool(lambda: backends, lambda backend: by_name[backend.name], on_retry=note, **options)
    if clock is not None:
        for member in pool.members:
            member.breaker = Breaker(clock)
    return pool


async def place(pool: Pool, model: str | None = "m", within_s: float = 60.0) -> Placed:
    by = asyncio.get_running_loop().time() + within_s
    return await pool.send(
        model, Request("/v1/chat/completions", lambda t: t.model.encode(), lambda _: None, False, by, by)
    )


async def ask(pool: Pool, model: str | None = "m", within_s: float = 60.0) -> str:
    """Who answered."""
    placed = await place(pool, model, within_s)
    placed.close()
    return placed.target.member.backend.name


async def failure(pool: Pool, within_s: float = 60.0) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await ask(pool, within_s=within_s)
    return caught.value


def state(pool: Pool, name: str) -> State:
    return next(member.breaker.state for member in pool.members if member.backend.name == name)


def in_flight(pool: Pool) -> list[int]:
    return [member.in_flight for member in pool.members]


def serving(name: str, *models: str | dict[str, Any]) -> MemoryBackend:
    return MemoryBackend(name, lists=[models])


def catalog_of(
    *members: MemoryBackend | tuple[MemoryBackend, dict[str, Any]],
    chosen: str | None = None,
    clock: Clock | None = None,
) -> Catalog:
    pairs = [member if isinstance(member, tuple) else (member, {}) for member in members]
    made = [Member(backend.backend(**fields), backend) for backend, fields in pairs]
    return Catalog(made, chosen, clock or Clock())


async def found(catalog: Catalog, asked: str | None) -> list[str]:
    """backend:model there, in the order in which they are tried."""
    return [f"{target.member.backend.name}:{target.model}" for target in await catalog.find(asked)]


async def refusal(catalog: Catalog, asked: str | None) -> Refused:
    with pytest.raises(Refused) as caught:
        await catalog.find(asked)
    assert (caught.value.status, caught.value.details["code"]) == (404, "model_not_found")
    assert caught.value.details["param"] == "model"
    return caught.value


async def names(catalog: Catalog) -> list[str]:
    return [model["id"] for model in await catalog.models()]
