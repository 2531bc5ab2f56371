"""Prometheus and Alertmanager as processes, and the webhook that Alertmanager tells."""

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.monitoring.shortened import write_alertmanager, write_prometheus
from tests.support.live import free_port
from tests.support.prometheus import tool

START_LIMIT_S = 60


@dataclass(frozen=True)
class Notice:
    """What the webhook was told of one alert, and when (Unix seconds)."""

    at: float
    status: str
    labels: Mapping[str, str]


@dataclass
class Webhook:
    """A receiver on loopback that remembers. `arrived` is set at each notice."""

    notices: list[Notice] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def of(self, alert: str, status: str, since: float = 0.0) -> list[Notice]:
        """The notices of an alert with this status, oldest first."""
        return [
            notice
            for notice in list(self.notices)
            if notice.labels["alertname"] == alert and notice.status == status and notice.at >= since
        ]

    def is_over(self, alert: str) -> bool:
        """Whether it fired, and the last word of each of its kinds is that it resolved."""
        last = {frozenset(notice.labels.items()): notice.status for notice in list(self.notices)}
        states = [status for labels, status in last.items() if ("alertname", alert) in labels]
        return bool(states) and set(states) == {"resolved"}

    def take(self, body: Any) -> None:
        with self.arrived:
            now = time.time()
            self.notices += [Notice(now, alert["status"], alert["labels"]) for alert in body["alerts"]]
            self.arrived.notify_all()

    @contextmanager
    def listening(self) -> Iterator[str]:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.take(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing is logged."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


@dataclass
class Watchers:
    """Running. `ports`: of what is scraped, by job."""

    url: str
    alertmanager_url: str
    webhook: Webhook

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of an expression."""
        result: list[dict[str, Any]] = _get(f"{self.url}/api/v1/query?query={quote(expression)}")["data"]["result"]
        return result

    def alerts(self) -> list[dict[str, Any]]:
        """Those that Prometheus holds pending or firing."""
        found: list[dict[str, Any]] = _get(f"{self.url}/api/v1/alerts")["data"]["alerts"]
        return found


@contextmanager
def watching(folder: Path, ports: dict[str, int]) -> Iterator[Watchers]:
    """Both, with the project's own rules, shortened; ended when the block ends."""
    webhook = Webhook()
    prometheus, alertmanager = free_port(), free_port()
    with ExitStack() as stack:
        told = stack.enter_context(webhook.listening())
        config = write_alertmanager(folder, told)
        stack.enter_context(
            _process(
                folder,
                "alertmanager",
                f"--config.file={config}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{alertmanager}",
                "--cluster.listen-address=",
            )
        )
        config = write_prometheus(folder, ports, alertmanager)
        stack.enter_context(
            _process(
                folder,
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{prometheus}",
            )
        )
        urls = [f"http://127.0.0.1:{port}" for port in (prometheus, alertmanager)]
        for url in urls:
            _wait_until_ready(url, folder)
        yield Watchers(*urls, webhook)


@contextmanager
def _process(folder: Path, name: str, *arguments: str) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([tool(name), *arguments], stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return
        except OSError:
            assert time.monotonic() < deadline, f"{url} is not ready; logs are in {folder}"
            time.sleep(0.1)


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)
