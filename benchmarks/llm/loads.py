"""The loads, and one of them on one server: CPU, times, and every answer checked."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.core import tree
from benchmarks.llm import wire
from benchmarks.llm.client import Answer, Connection, open_all

# What a server does after an answer's last byte, such as its log and its counts, belongs to the request.
SETTLE_S = 0.1

CLIENTS = (1, 16, 128)


@dataclass(frozen=True, slots=True)
class Load:
    """`requests` requests by `clients` clients, each sending its next one when its last is answered.

    pace_ms: time between a stream's tokens at the upstream; 0: none; None: plain answers.
    """

    name: str
    clients: int
    requests: int
    pace_ms: float | None = None

    @property
    def is_stream(self) -> bool:
        """Whether the answers are streams."""
        return self.pace_ms is not None

    def shared(self, part: float) -> "Load":
        """The same with fewer requests, one a client at least: for a server that takes far longer for each."""
        return Load(self.name, self.clients, max(round(self.requests * part), self.clients), self.pace_ms)

    def title(self) -> str:
        """What it does, in words."""
        clients = f"{self.clients} clients" if self.clients > 1 else "one client"
        if self.pace_ms is None:
            return f"{self.name}: {clients}, plain answers"
        pace = f"{self.pace_ms:g} ms apart" if self.pace_ms else "one right after the other"
        return f"{self.name}: {clients}, streams of {wire.TOKENS} tokens, {pace}"


def full() -> list[Load]:
    """What a round has by default.

    The tokens of `stream_*` come one right after the other, each a write of its own: a server finds one or several in a
    read. Those of `paced_*` come as a model's do, all streams together 4,000 a second, so that each costs a server a
    wake-up, a read and a write, which none can save.
    """
    return [
        Load("plain_1", 1, 500),
        Load("plain_16", 16, 3200),
        Load("plain_128", 128, 3200),
        Load("stream_1", 1, 200, pace_ms=0),
        Load("stream_16", 16, 800, pace_ms=0),
        Load("stream_128", 128, 800, pace_ms=0),
        Load("paced_1", 1, 70, pace_ms=1),
        Load("paced_16", 16, 320, pace_ms=4),
        Load("paced_128", 128, 384, pace_ms=32),
    ]


def quick() -> list[Load]:
    """The same loads, just large enough to run."""
    return [
        Load("plain_1", 1, 50),
        Load("plain_16", 16, 160),
        Load("plain_128", 128, 256),
        Load("stream_1", 1, 10, pace_ms=0),
        Load("stream_16", 16, 64, pace_ms=0),
        Load("stream_128", 128, 128, pace_ms=0),
        Load("paced_1", 1, 10, pace_ms=1),
        Load("paced_16", 16, 48, pace_ms=4),
        Load("paced_128", 128, 128, pace_ms=8),
    ]


@dataclass(frozen=True, slots=True)
class Measured:
    """One load on one server in one round. cpu_s: of its process tree; None where it is not counted."""

    requests: int
    cpu_s: float | None
    wall_s: float
    latencies_s: list[float]
    firsts_s: list[float]

    @property
    def cpu_ms(self) -> float | None:
        """CPU-ms a request."""
        return None if self.cpu_s is None else self.cpu_s * 1e3 / self.requests


async def measure(url: str, pid: int | None, load: Load) -> Measured:
    """Run a load against a server. pid: whose CPU is counted; None: nobody's. Fails with WrongAnswer."""
    port = urlsplit(url).port or 80
    request = wire.request(port, is_stream=load.is_stream)
    clients = await open_all(url, load.clients)
    try:
        # Connections, those to the upstream too, are made before the clock starts.
        warm = wire.request(port, is_stream=False)
        for answer in await asyncio.gather(*(client.send(warm) for client in clients)):
            wire.check(answer.status, answer.body, is_stream=False)
        await asyncio.sleep(SETTLE_S)
        cpu_before, started = _cpu(pid), time.perf_counter()
        # Streams that all begin at once would send their tokens at once, too, for as long as they last.
        answers = await send_all(clients, request, load.requests, spread_s=(load.pace_ms or 0) * wire.TOKENS / 1e3)
        wall_s = time.perf_counter() - started
        await asyncio.sleep(SETTLE_S)
        used_s = None if cpu_before is None else (_cpu(pid) or 0.0) - cpu_before
    finally:
        for client in clients:
            client.close()
    for answer in answers:
        wire.check(answer.status, answer.body, is_stream=load.is_stream)
    return Measured(
        len(answers), used_s, wall_s, [answer.whole_s for answer in answers], [answer.first_s for answer in answers]
    )


async def send_all(clients: Sequence[Connection], request: bytes, count: int, spread_s: float = 0.0) -> list[Answer]:
    """So many requests, spread over the clients; the answers are not looked at. Fails with WrongAnswer.

    spread_s: over so long the clients begin, one after the other.
    """
    answers: list[Answer] = []
    left = count

    async def one_client(number: int, client: Connection) -> None:
        nonlocal left
        await asyncio.sleep(spread_s * number / len(clients))
        while left > 0:
            left -= 1
            answers.append(await client.send(request))

    await asyncio.gather(*(one_client(number, client) for number, client in enumerate(clients)))
    return answers


def _cpu(pid: int | None) -> float | None:
    return None if pid is None else tree.cpu_s(pid)
