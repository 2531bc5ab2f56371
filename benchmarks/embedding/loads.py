"""The loads, each bounded in count and in time. Bodies are built before the clock starts, answers are not decoded."""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import orjson

from benchmarks.core import tree
from benchmarks.core.processes import Running
from benchmarks.embedding.servers import Server
from benchmarks.embedding.texts import Texts

_JSON = {"content-type": "application/json"}

# A query behind four bulk requests waits 8 s at a naive server; beyond this it hangs.
REQUEST_LIMIT_S = 120

# Until then the bulk clients' requests are in work everywhere.
SATURATED_AFTER_S = 0.5


class LoadFailed(Exception):
    """A server did not answer 200, or not at all; the text says what it answered."""


@dataclass(frozen=True, slots=True)
class Load:
    """`requests` requests of `batch` texts by `clients` clients, each sending its next one when its last is answered.

    After `limit_s` no new request is sent. background: batch and clients of a load that goes on meanwhile.
    """

    name: str
    requests: int
    batch: int
    clients: int = 1
    is_query: bool = False
    limit_s: float = 60.0
    background: tuple[int, int] | None = None


def full() -> list[Load]:
    """What a round has by default: about 3 minutes on two cores with six servers.

    Of single queries so many that a p99 is not simply the slowest.
    """
    return [
        Load("bulk_32", requests=6, batch=32),
        Load("bulk_256", requests=1, batch=256),
        Load("single_64", requests=640, batch=1, clients=64, is_query=True),
        Load("single_1", requests=200, batch=1, is_query=True),
        Load("mixed", requests=200, batch=1, is_query=True, limit_s=15, background=(32, 4)),
    ]


def quick() -> list[Load]:
    """The same loads, just large enough to run."""
    return [
        Load("bulk_32", requests=1, batch=32),
        Load("bulk_256", requests=1, batch=256, limit_s=1),
        Load("single_64", requests=128, batch=1, clients=64, is_query=True),
        Load("single_1", requests=20, batch=1, is_query=True),
        Load("mixed", requests=20, batch=1, is_query=True, limit_s=3, background=(8, 4)),
    ]


@dataclass(frozen=True, slots=True)
class Measured:
    """One load on one server in one round. In `mixed` the latencies are the queries', texts and tokens are of both."""

    texts: int
    tokens: int
    cpu_s: float
    wall_s: float
    latencies_s: list[float]

    @property
    def texts_per_cpu_s(self) -> float:
        """Texts for a second of the server's CPU."""
        return self.texts / max(self.cpu_s, 0.01)  # 0.01: /proc counts in such steps

    @property
    def tokens_per_cpu_s(self) -> float:
        """Tokens, padding not counted, for a second of the server's CPU."""
        return self.tokens / max(self.cpu_s, 0.01)


async def measure(running: Running[Server], load: Load, texts: Texts, start: int) -> Measured:
    """Run a load. start: the first of the supply's texts to use; the same for servers that are to be compared.

    Fails with LoadFailed.
    """
    supply = texts.queries if load.is_query else texts.chunks
    batches = [supply(load.batch, start + index * load.batch) for index in range(load.requests)]
    timeout = aiohttp.ClientTimeout(REQUEST_LIMIT_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        client = _Client(session, running.url + running.server.route, running.server.body)
        waiting = [(batch, client.encode(batch)) for batch in reversed(batches)]
        answered: list[list[str]] = []
        cpu_before, started = tree.cpu_s(running.pid), time.perf_counter()
        if load.background is None:
            latencies = await _foreground(client, load, waiting, answered)
        else:
            latencies = await _under_bulk(client, load, waiting, answered, texts)
        wall_s, used_s = time.perf_counter() - started, tree.cpu_s(running.pid) - cpu_before
    all_texts = list(itertools.chain.from_iterable(answered))
    return Measured(len(all_texts), texts.tokens(all_texts), used_s, wall_s, latencies)


class _Client:
    def __init__(self, session: aiohttp.ClientSession, url: str, body: Callable[[list[str]], object]):
        self._session, self._url, self._body = session, url, body

    def encode(self, texts: list[str]) -> bytes:
        return orjson.dumps(self._body(texts))

    async def send(self, body: bytes) -> float:
        """Post a body; returns the seconds until its whole answer was here."""
        started = time.perf_counter()
        try:
            async with self._session.post(self._url, data=body, headers=_JSON) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise LoadFailed(f"no answer: {exc or type(exc).__name__}") from exc
        if response.status != 200:
            raise LoadFailed(f"{response.status}: {answer[:200].decode(errors='replace')}")
        return time.perf_counter() - started


async def _foreground(
    client: _Client, load: Load, waiting: list[tuple[list[str], bytes]], answered: list[list[str]]
) -> list[float]:
    """Send what is waiting, last first; returns the latencies in s, at least one of each client."""
    started = time.perf_counter()
    latencies: list[float] = []

    async def one_client() -> None:
        is_first = True
        while waiting and (is_first or time.perf_counter() - started < load.limit_s):
            is_first = False
            batch, body = waiting.pop()
            latencies.append(await client.send(body))
            answered.append(batch)

    await asyncio.gather(*(one_client() for _ in range(load.clients)))
    return latencies


async def _under_bulk(
    client: _Client, load: Load, waiting: list[tuple[list[str], bytes]], answered: list[list[str]], texts: Texts
) -> list[float]:
    """The same while other clients send bulk. What these have sent is waited for: the next load finds a server idle."""
    assert load.background is not None
    batch, clients = load.background
    stop = asyncio.Event()

    async def one_bulk_client() -> None:
        while not stop.is_set():
            chunks = texts.chunks(batch, len(answered) * batch)
            await client.send(client.encode(chunks))
            answered.append(chunks)

    bulk = [asyncio.create_task(one_bulk_client()) for _ in range(clients)]
    try:
        await asyncio.sleep(SATURATED_AFTER_S)
        return await _foreground(client, load, waiting, answered)
    finally:
        stop.set()
        await asyncio.gather(*bulk)


async def vectors_of(running: Running[Server], texts: list[str]) -> list[list[float]]:
    """What a server answers for these texts. Fails with LoadFailed."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(REQUEST_LIMIT_S)) as session:
        body = orjson.dumps(running.server.body(texts))
        async with session.post(running.url + running.server.route, data=body, headers=_JSON) as response:
            answer = await response.read()
    if response.status != 200:
        raise LoadFailed(f"{response.status}: {answer[:200].decode(errors='replace')}")
    return running.server.vectors(orjson.loads(answer))
