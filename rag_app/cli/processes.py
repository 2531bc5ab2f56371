"""Starts services as processes of their own, waits until they can serve, and ends every one of them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from rag_app.cli.client import Failure
from rag_app.cli.guard import GRACE_S
from rag_app.cli.interrupts import Interrupted, Interrupts

# A model that is converted on its first start takes a minute of two cores; a slow laptop gets five.
READY_WITHIN_S = 300.0
# A start that takes longer may have a reason that the user can mend, such as a full disk.
TOLD_AFTER_S = 10.0
POLL_S = 0.1
_LOG_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Service:
    """One process, `python -m module`. `ready_path` answers 200 when it can serve; `setting` holds its port."""

    module: str
    port: int
    setting: str
    ready_path: str = "/readyz"
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """Where it is reached from this machine."""
        return f"http://{self.host}:{self.port}"


class Processes:
    """Services that run as children, each in a process group of its own, logging to `logs`/<module>.log."""

    def __init__(
        self,
        services: Sequence[Service],
        environment: Mapping[str, str],
        logs: Path,
        interrupts: Interrupts,
        grace_s: float = GRACE_S,
    ):
        """environment: of the children, whole. Nothing starts before start()."""
        self._services = services
        self._environment = dict(environment)
        self._logs = logs
        self._interrupts = interrupts
        self._grace_s = grace_s
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []

    def check_ports(self) -> None:
        """Fail, before anything is started, where a port is taken."""
        for service in self._services:
            if is_taken(service.port):
                raise Failure(
                    f"port {service.port}, which {service.module} needs, is taken: set {service.setting} to another, "
                    "or end the program that has it (another `code-assistant up`?)"
                )

    def start(self) -> None:
        """Start all of them; returns at once. Fails where their logs cannot be written."""
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
            for service in self._services:
                # A signal between the start of a process and the note of it would leave it behind.
                with self._interrupts.held():
                    self._running.append((service, self._spawn(service)))
        except OSError as exc:
            raise Failure(f"{self._logs} cannot be written ({exc.strerror}); set DATA_DIR to another folder") from exc

    def _spawn(self, service: Service) -> subprocess.Popen[bytes]:
        log = self._logs / f"{service.module}.log"
        with suppress(FileNotFoundError):
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "rag_app.cli.guard", service.module],
                stdin=subprocess.PIPE,  # the guard's line to us
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # the terminal's Ctrl-C reaches us alone, and we end them in order
            )

    def wait_ready(
        self,
        on_ready: Callable[[Service, float], None],
        within_s: float = READY_WITHIN_S,
        on_wait: Callable[[Service, str], None] = lambda service, reason: None,
        told_after_s: float = TOLD_AFTER_S,
    ) -> None:
        """Return when all can serve; on_ready hears of each, with the seconds it took. Fails where one ends first.

        on_wait: hears once of each reason why a service is not ready, where it takes longer than `told_after_s`.
        """
        started = time.monotonic()
        waiting = [service for service, _ in self._running]
        told: set[tuple[Service, str]] = set()
        with httpx.Client(trust_env=False, timeout=5) as client:
            while waiting:
                self.check_alive()
                took_s = time.monotonic() - started
                for service, missing in [(service, _missing(client, service)) for service in waiting]:
                    if missing is None:
                        on_ready(service, took_s)
                        waiting.remove(service)
                    elif missing and took_s > told_after_s and (service, missing) not in told:
                        told.add((service, missing))
                        on_wait(service, missing)
                if waiting and took_s > within_s:
                    raise Failure(self._late(waiting[0], within_s), exit_code=1)
                time.sleep(POLL_S)

    def check_alive(self) -> None:
        """Fail with the end of its log where a service has ended by itself."""
        for service, process in self._running:
            code = process.poll()
            if code is not None:
                raise Failure(f"{service.module} ended with code {code}; {self._log_tail(service)}", exit_code=1)

    def _late(self, service: Service, within_s: float) -> str:
        return f"{service.module} was not ready within {within_s:g} s; {self._log_tail(service)}"

    def _log_tail(self, service: Service) -> str:
        log = self._logs / f"{service.module}.log"
        lines = log.read_text("utf-8", "replace").splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join([f"the end of {log}:", *(f"  {line}" for line in lines)])

    def stop(self, on_stop: Callable[[], None] = lambda: None) -> None:
        """End all: SIGTERM, and SIGKILL after the grace, or at once when another signal comes meanwhile.

        on_stop: called first, when no signal can break off the end any more.
        """
        with suppress(Interrupted), self._interrupts.held():
            on_stop()
            for _, process in self._running:
                _signal_group(process, signal.SIGTERM)
            heard, deadline = self._interrupts.count, time.monotonic() + self._grace_s
            while any(process.poll() is None for _, process in self._running):
                if time.monotonic() > deadline or self._interrupts.count > heard:
                    break
                time.sleep(0.02)
            for _, process in self._running:
                # What a service started itself ends with it.
                _signal_group(process, signal.SIGKILL)
                process.wait()
            self._running.clear()


def is_taken(port: int) -> bool:
    """Does somebody listen on this port of this machine, or may nobody?"""
    with socket.socket() as probe:
        probe.settimeout(1)
        # A listener on all addresses does not hinder a bind to loopback on a Mac, so ask first.
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _missing(client: httpx.Client, service: Service) -> str | None:
    """What a service says that it lacks, "" where it does not say; None when it can serve."""
    try:
        answer = client.get(service.url + service.ready_path)
        if answer.status_code == 200:
            return None
        checks = answer.json()["checks"]
        return "; ".join(check["detail"] for check in checks if check["required"] and not check["ok"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return ""


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
