"""The one address of a Qdrant cluster: a node that dies is passed over, for what is written and what is read."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.live import free_port, live
from tests.support.nginx import ADVICE, CONFIG, find_nginx, replaced
from tests.support.replicas import until


def node(number: int) -> ASGIApp:
    """Answers with its number and how much it was sent."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            body = await Request(scope, receive).body()
            await PlainTextResponse(f"{number} {len(body)}")(scope, receive, send)

    return answer


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[ExitStack]]]:
    """(the address, what ends each of the three nodes)."""
    program, port = find_nginx(), free_port()
    assert program is not None, ADVICE
    ends = [ExitStack() for _ in range(3)]
    urls = [end.enter_context(live(node(number))) for number, end in enumerate(ends, 1)]
    addresses = {f"vector-db-{number}:6333 resolve": url.removeprefix("http://") for number, url in enumerate(urls, 1)}
    (tmp_path / "qdrant-servers.conf").write_text(replaced((CONFIG / "qdrant-servers.conf").read_text(), addresses))
    text = replaced((CONFIG / "qdrant.conf").read_text(), {"listen 6333;": f"listen 127.0.0.1:{port};"})
    (tmp_path / "qdrant.conf").write_text(text)
    with (tmp_path / "error.log").open("ab") as log:
        command = [program, "-p", f"{tmp_path}/", "-c", str(tmp_path / "qdrant.conf"), "-g", "daemon off;"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until((tmp_path / "nginx.pid").exists, "nginx runs")
        yield f"http://127.0.0.1:{port}", ends
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        for end in ends:
            end.close()


def test_nodes_that_die_are_passed_over_until_the_last(cluster: tuple[str, list[ExitStack]]) -> None:
    url, ends = cluster
    batch = b"x" * 1_500_000  # as many bytes as 128 points, and more

    def asked() -> list[str]:
        written = [httpx.put(f"{url}/collections/code/points", content=batch, timeout=60) for _ in range(6)]
        read = [httpx.post(f"{url}/collections/code/points/query", content=b"{}", timeout=60) for _ in range(6)]
        assert {answer.status_code for answer in written + read} == {200}
        assert {answer.text.split()[1] for answer in written} == {str(len(batch))}
        return [answer.text.split()[0] for answer in written + read]

    assert set(asked()) == {"1", "2", "3"}
    ends[0].close()
    assert set(asked()) == {"2", "3"}
    ends[2].close()
    assert set(asked()) == {"2"}
    ends[1].close()
    assert httpx.get(f"{url}/readyz", timeout=60).status_code == 502


def test_the_metrics_of_a_node_taken_by_chance_are_told_to_nobody(cluster: tuple[str, list[ExitStack]]) -> None:
    answer = httpx.get(f"{cluster[0]}/metrics", timeout=60)
    assert (answer.status_code, answer.text) == (200, "")  # so that a scrape of the proxy says that it is up
    assert answer.headers["content-type"] == "text/plain"


def test_prometheus_scrapes_each_node_of_a_cluster() -> None:
    nodes = set(re.findall(r"server (vector-db-\d+):6333 ", (CONFIG / "qdrant-servers.conf").read_text()))
    config = yaml.safe_load((CONFIG.parents[1] / "monitoring" / "prometheus" / "prometheus.yml").read_text())
    [job] = [job for job in config["scrape_configs"] if job["job_name"] == "vector-db"]
    assert len(nodes) == 3
    assert {"vector-db", *nodes} == set(job["dns_sd_configs"][0]["names"])
