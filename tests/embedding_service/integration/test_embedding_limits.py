"""At the limits of the machine: thousands of connections, and no memory left."""

import asyncio
import contextlib
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.embedding_service.processes import Served, start

CONNECTIONS = 5_000


def memory_bytes(pid: int) -> int:
    """What the process has mapped: what RLIMIT_AS counts."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


async def ask_all_at_once(port: int) -> Counter[int]:
    """Open all connections, then send a query on each. Returns how many got which status."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]

    async def ask(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        body = b'{"inputs": "where is number %d?"}' % number
        head = b"POST /embed HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        writer.write(head % len(body) + body)
        answer = await reader.read()
        writer.close()
        return int(answer.split(b" ", 2)[1])

    return Counter(await asyncio.gather(*(ask(number, *both) for number, both in enumerate(connections))))


def test_five_thousand_connections_are_served_or_told_to_wait(served: Served) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CONNECTIONS + 200:
        pytest.fail(f"the hard limit of open files is {hard}; this test needs {CONNECTIONS + 200}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CONNECTIONS + 200), hard))
    statuses = asyncio.run(ask_all_at_once(served.port))
    assert set(statuses) <= {200, 429}
    assert statuses[200] >= 4_096  # MAX_CONCURRENT_REQUESTS: all that were admitted were served
    assert httpx.post(f"{served.url}/embed", json={"inputs": "and now?"}).status_code == 200


@pytest.fixture
def hungry(data_dir: Path) -> Iterator[Served]:
    """A service whose batches are so large that what the worker holds in reserve does not do for one."""
    running = start(DATA_DIR=data_dir, MAX_BATCH_TOKENS=65_536)
    yield running
    running.end()


def test_a_worker_without_memory_fails_its_batches_and_serves_again_when_there_is_some(hungry: Served) -> None:
    served = hungry
    bulk = {"inputs": [f"value{number} = compute(value)\n" * 200 for number in range(128)]}
    worker = served.worker()
    _, hard = resource.prlimit(worker, resource.RLIMIT_AS)
    resource.prlimit(worker, resource.RLIMIT_AS, (memory_bytes(worker), hard))
    refused = httpx.post(f"{served.url}/embed", json=bulk, timeout=120)
    assert refused.status_code in {424, 503}, refused.text[:200]
    assert httpx.get(f"{served.url}/healthz").status_code == 200
    if served.worker_or_none() == worker:
        resource.prlimit(worker, resource.RLIMIT_AS, (hard, hard))
    wait_until_ready(served.url)
    assert httpx.post(f"{served.url}/embed", json=bulk, timeout=120).status_code == 200


def test_a_service_without_memory_refuses_what_it_cannot_hold_and_stays(served: Served) -> None:
    _, hard = resource.prlimit(served.pid, resource.RLIMIT_AS)
    resource.prlimit(served.pid, resource.RLIMIT_AS, (memory_bytes(served.pid) + 1_000_000, hard))
    large = {"inputs": [f"x{number} " * 1_000 for number in range(256)]}
    for _ in range(3):
        with contextlib.suppress(httpx.HTTPError):  # where not even an answer could be made
            assert httpx.post(f"{served.url}/embed", json=large, timeout=60).status_code >= 400
    resource.prlimit(served.pid, resource.RLIMIT_AS, (hard, hard))
    assert httpx.post(f"{served.url}/embed", json={"inputs": "and now?"}).status_code == 200


def test_a_body_that_never_ends_and_a_head_that_never_ends_hold_up_nobody(
    served: Served, make_settings: MakeSettings
) -> None:
    async def drip() -> int:
        _, endless_head = await asyncio.open_connection("127.0.0.1", served.port)
        endless_head.write(b"POST /embed HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        _, endless_body = await asyncio.open_connection("127.0.0.1", served.port)
        endless_body.write(
            b'POST /embed HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"inp\r\n'
        )
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{served.url}/embed", json={"inputs": "a"})
        endless_head.close()
        endless_body.close()
        return answer.status_code

    assert asyncio.run(drip()) == 200
