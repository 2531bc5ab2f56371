"""What a server adds to the time to the first token, asked in turns with the upstream itself."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.core.stats import percentile
from benchmarks.llm import wire
from benchmarks.llm.client import Connection, open_all
from benchmarks.llm.loads import send_all

# The upstream's name in the results.
DIRECT = "upstream"


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """Seconds to the first token, name -> all of them, of streams by so many clients."""

    clients: int
    seconds: Mapping[str, Sequence[float]]

    def added_ms(self, name: str) -> float | None:
        """The p50 through a server less the p50 without, in ms; None where one was not measured."""
        through, direct = self.seconds.get(name), self.seconds.get(DIRECT)
        if not through or not direct:
            return None
        return (percentile(through, 50) - percentile(direct, 50)) * 1e3


async def first_tokens(urls: Mapping[str, str], clients: int, turns: int) -> FirstTokens:
    """Streams by `clients` clients at one server after the other, `turns` times around.

    urls: name -> address, the upstream's own under DIRECT. Fails with WrongAnswer.
    """
    seconds: dict[str, list[float]] = {name: [] for name in urls}
    opened: dict[str, list[Connection]] = {}
    async with AsyncExitStack() as stack:
        for name, url in urls.items():
            opened[name] = await open_all(url, clients)
            for client in opened[name]:
                stack.callback(client.close)
        for turn in range(turns + 1):
            for name, url in urls.items():
                request = wire.request(urlsplit(url).port or 80, is_stream=True)
                for answer in await send_all(opened[name], request, clients):
                    wire.check(answer.status, answer.body, is_stream=True)
                    if turn:  # the first one opens connections to the upstream
                        seconds[name].append(answer.first_s)
                await asyncio.sleep(0)
    return FirstTokens(clients, seconds)
