"""One run: start the upstream and all servers, load them in turn, round after round, and end them."""

from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from benchmarks.core import tree
from benchmarks.core.processes import DidNotStart, Others, Running, rotated
from benchmarks.llm import servers
from benchmarks.llm.client import open_all
from benchmarks.llm.first_token import DIRECT, FirstTokens, first_tokens
from benchmarks.llm.loads import Load, Measured, measure
from benchmarks.llm.servers import UPSTREAM, Server
from benchmarks.llm.soak import Soak, soak
from benchmarks.llm.wire import WrongAnswer

Say = Callable[[str], None]
Table = Callable[[str, Path, Path | None], Sequence[Server]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. first_token_turns and soak_requests: 0: not. chosen: names of servers."""

    loads: Sequence[Load]
    rounds: int
    first_token_turns: int
    soak_requests: int
    chosen: Sequence[str]


@dataclass(slots=True)
class Result:
    """What one server did. measured: load name -> round -> figures. failures: what did not work, in words."""

    server: Server
    start_s: float | None = None
    memory: tree.Memory | None = None
    measured: dict[str, dict[int, Measured]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """All of a run. others: the part of the machine's CPU that went to processes which are none of the run's."""

    results: dict[str, Result]
    first_tokens: list[FirstTokens] = field(default_factory=list)
    soak: Soak | None = None
    others: float = 0.0

    @property
    def failures(self) -> list[str]:
        """Of all servers, each with its name."""
        return [f"{name}: {failure}" for name, result in self.results.items() for failure in result.failures]


def run(plan: Plan, litellm: Path | None, folder: Path, say: Say, table: Table = servers.table) -> Outcome:
    """Measure. litellm: its program; None: left out. folder: for logs and configuration. say: told of each step.
    table: what can be chosen from.

    Every process that was started has ended when this returns or fails, KeyboardInterrupt included. Fails with
    DidNotStart where the fake upstream does not.
    """
    others = Others()
    with ExitStack() as stack:
        upstream = servers.start(UPSTREAM, folder)
        stack.callback(upstream.stop)
        outcome = Outcome({})
        running: list[Running[Server]] = []
        for server in table(upstream.url, folder, litellm):
            if server.name not in plan.chosen:
                continue
            say(f"starting {server.name}")
            result = outcome.results[server.name] = Result(server)
            try:
                running.append(servers.start(server, folder))
            except DidNotStart as exc:
                result.failures.append(f"did not start: {exc}")
                continue
            stack.callback(running[-1].stop)
            result.start_s = running[-1].start_s
        _Run(outcome, upstream, running, say).all(plan)
        outcome.others = others.part()
    return outcome


class _Run:
    def __init__(self, outcome: Outcome, upstream: Running[Server], running: list[Running[Server]], say: Say):
        self._outcome, self._upstream, self._running, self._say = outcome, upstream, running, say

    def all(self, plan: Plan) -> None:
        """The first round begins with the upstream itself: what it and the client can do bounds all others."""
        direct = self._outcome.results[UPSTREAM.name] = Result(UPSTREAM)
        self._warm_up()
        for number in range(plan.rounds):
            for load in plan.loads:
                self._pace(load.pace_ms or 0)
                if number == 0:
                    self._load(self._upstream, direct, load, number, None)
                for each in rotated(self._running, number):
                    result = self._outcome.results[each.server.name]
                    self._load(each, result, load.shared(each.server.part), number, each.pid)
        if plan.first_token_turns:
            self._first_tokens(plan.first_token_turns)
        for each in self._running:
            if each.server.name == "gateway" and plan.soak_requests:
                self._soak(each, plan.soak_requests)
            if each.process.poll() is None:
                self._outcome.results[each.server.name].memory = tree.memory(each.pid)

    def _warm_up(self) -> None:
        # What is imported, compiled or connected at the first requests is no request's.
        self._pace(0)
        for each in self._running:
            for load in (Load("warm-up", 4, 20), Load("warm-up", 4, 20, pace_ms=0)):
                self._tried(self._outcome.results[each.server.name], load.name, measure(each.url, None, load))

    def _load(self, each: Running[Server], result: Result, load: Load, number: int, pid: int | None) -> None:
        if any(failure.startswith(load.name) for failure in result.failures):
            return
        before = self._count()
        measured = self._tried(result, load.name, measure(each.url, pid, load))
        if measured is None:
            return
        # Each request reached the upstream once: none was answered from a cache, none sent twice.
        sent = measured.requests + load.clients  # each client warms up with one
        if (seen := self._count() - before) != sent:
            result.failures.append(f"{load.name}: the upstream saw {seen} answers for {sent} requests")
            return
        result.measured.setdefault(load.name, {})[number] = measured
        told = "" if measured.cpu_ms is None else f"{measured.cpu_ms:.3f} CPU-ms a request, "
        self._say(
            f"round {number + 1}, {load.name}, {each.server.name}: "
            f"{told}{measured.requests / measured.wall_s:.0f} requests/s"
        )

    def _first_tokens(self, turns: int) -> None:
        # The shortest pace there is: of these streams only the beginning counts, and its write is one of its own.
        self._pace(1)
        for clients in (1, 16):
            urls = {DIRECT: self._upstream.url, **{each.server.name: each.url for each in self._running}}
            around = max(turns // clients, 2)
            self._say(f"first token, {clients} at a time, {around} times around")
            found = self._tried(
                self._outcome.results[UPSTREAM.name], "first_token", first_tokens(urls, clients, around)
            )
            if found is not None:
                self._outcome.first_tokens.append(found)

    def _soak(self, gateway: Running[Server], requests: int) -> None:
        self._pace(1)
        self._say(f"soak: {requests} requests in a row")
        result = self._outcome.results[gateway.server.name]
        self._outcome.soak = self._tried(result, "soak", soak(gateway.url, gateway.pid, requests))

    def _tried(self, result: Result, what: str, work: Coroutine[Any, Any, T]) -> T | None:
        try:
            return uvloop.run(work)
        except (WrongAnswer, ProcessLookupError) as exc:
            result.failures.append(f"{what}: {exc}")
            self._say(f"{result.server.name}, {what}: {exc}")
            return None

    def _pace(self, pace_ms: float) -> None:
        self._ask(f"PUT /pace/{pace_ms}")

    def _count(self) -> int:
        return int(self._ask("GET /count"))

    def _ask(self, what: str) -> bytes:
        async def ask() -> bytes:
            (connection,) = await open_all(self._upstream.url, 1)
            try:
                return (await connection.send(_control(what))).body
            finally:
                connection.close()

        return uvloop.run(ask())


def _control(what: str) -> bytes:
    return f"{what} HTTP/1.1\r\nhost: upstream\r\ncontent-length: 0\r\n\r\n".encode()
