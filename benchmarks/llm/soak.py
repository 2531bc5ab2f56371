"""Requests in a row at the gateway, and what its memory does meanwhile."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlsplit

from benchmarks.core import tree
from benchmarks.llm import wire
from benchmarks.llm.client import Connection, open_all

CLIENTS = 64

# One in ten is a stream: what a stream leaves behind shows as well, and the soak stays under two minutes.
STREAM_EVERY = 10

SAMPLE_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Soak:
    """samples: (requests answered, resident MB), in order."""

    requests: int
    wall_s: float
    cpu_s: float
    samples: Sequence[tuple[int, float]]

    @property
    def rss_mb(self) -> float:
        """The highest that was seen."""
        return max(mb for _, mb in self.samples)

    @property
    def growth_mb(self) -> float | None:
        """Median memory in the last sixth of the requests less that in the second: of 60,000, each 10,000.

        The first sixth does not count: pools and caches fill up in it. None where either has no sample.
        """
        sixth = self.requests / 6
        early = [mb for done, mb in self.samples if sixth <= done < 2 * sixth]
        late = [mb for done, mb in self.samples if done >= self.requests - sixth]
        return median(late) - median(early) if early and late else None


async def soak(url: str, pid: int, requests: int) -> Soak:
    """Send so many, each answer checked. pid: of the server. Fails with WrongAnswer."""
    port = urlsplit(url).port or 80
    plain, stream = (wire.request(port, is_stream=is_stream) for is_stream in (False, True))
    samples: list[tuple[int, float]] = []
    begun = done = 0

    async def one_client(client: Connection) -> None:
        nonlocal begun, done
        while begun < requests:
            begun += 1
            is_stream = begun % STREAM_EVERY == 0
            answer = await client.send(stream if is_stream else plain)
            wire.check(answer.status, answer.body, is_stream=is_stream)
            done += 1

    async def sample() -> None:
        while True:
            samples.append((done, tree.rss_mb(pid)))
            await asyncio.sleep(SAMPLE_EVERY_S)

    clients = await open_all(url, CLIENTS)
    sampler = asyncio.create_task(sample())
    started, cpu_before = time.perf_counter(), tree.cpu_s(pid)
    try:
        await asyncio.gather(*map(one_client, clients))
    finally:
        sampler.cancel()
        for client in clients:
            client.close()
    samples.append((done, tree.rss_mb(pid)))
    return Soak(done, time.perf_counter() - started, tree.cpu_s(pid) - cpu_before, samples)
