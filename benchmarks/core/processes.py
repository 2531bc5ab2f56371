"""The life of a server that is measured: start, health, end. What is done to one is done to all."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import httpx

from benchmarks.core import tree

ROOT = Path(__file__).resolve().parents[2]

# infinity-emb warms up for 10 s on two cores; LiteLLM imports for as long.
START_LIMIT_S = 180
STOP_LIMIT_S = 10


class DidNotStart(Exception):
    """A server ended, did not answer in time, or is not what it was started as; the text says which."""


class Startable(Protocol):
    """What there is to know of a server to start it. `command` and `env` may hold {port} and {data}, a folder."""

    @property
    def name(self) -> str:
        """Its row in the tables."""
        ...

    @property
    def command(self) -> Sequence[str]:
        """The program and its arguments."""
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """Variables beside those of this process."""
        ...

    @property
    def health(self) -> str:
        """The path that answers 200 once it serves."""
        ...


ServerT = TypeVar("ServerT", bound=Startable)


@dataclass(slots=True)
class Running(Generic[ServerT]):
    """A server that answers."""

    server: ServerT
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    start_s: float  # from its spawn to the first 200 of its health path

    @property
    def pid(self) -> int:
        """Of the process that was started; it leads its session."""
        return self.process.pid

    def stop(self) -> None:
        """SIGTERM to the server, then SIGKILL to whatever is left in its session; returns when all are gone."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_LIMIT_S)
        deadline = time.monotonic() + STOP_LIMIT_S
        while (left := tree.pids(self.pid)) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()  # a zombie of ours goes when it has been asked about
            time.sleep(0.01)


def launch(server: ServerT, folder: Path, not_inherited: tuple[str, ...] = ()) -> Running[ServerT]:
    """Start it and wait until its health path answers 200. Fails with DidNotStart.

    folder: for its data and log. not_inherited: beginnings of variables that would lead a server elsewhere, or set what
    is compared.
    """
    port = str(_free_port())
    fill = {"{port}": port, "{data}": str(folder / "data")}
    log = folder / f"{server.name}.log"
    work = folder / "work"  # no .env of the developer's is read in here
    work.mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(not_inherited)}
    env = {**inherited, "PYTHONPATH": str(ROOT), **{name: _fill(value, fill) for name, value in server.env.items()}}
    command, running = [_fill(word, fill) for word in server.command], None
    started = time.perf_counter()
    try:
        with log.open("wb") as out, _signals_held():
            process = subprocess.Popen(
                command, env=env, cwd=work, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
            running = Running(server, f"http://127.0.0.1:{port}", process, log, 0.0)
        _wait(running, started)
    except BaseException:
        if running is not None:
            running.stop()
        raise
    return running


@contextmanager
def _signals_held() -> Iterator[None]:
    # Ctrl-C in the middle of a spawn would leave a process that nobody knows. In the new one they are as ever: exec
    # resets handlers.
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: came.append(got)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for got in came:
            signal.raise_signal(got)


def _wait(running: Running[ServerT], started: float) -> None:
    deadline, path = started + START_LIMIT_S, running.server.health
    while time.perf_counter() < deadline:
        if running.process.poll() is not None:
            raise DidNotStart(last_line(running.log) or f"ended with exit code {running.process.returncode}")
        with suppress(httpx.TransportError):
            if httpx.get(running.url + path, timeout=5).status_code == 200:
                running.start_s = time.perf_counter() - started
                return
        time.sleep(0.02)
    raise DidNotStart(f"no 200 of {path} within {START_LIMIT_S} s; its log ends: {last_line(running.log)}")


def last_line(log: Path) -> str:
    """The last line of a log that says something; pydantic's closes with a link, which does not."""
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines()]
    telling = [line for line in lines if line and not line.startswith("For further information visit")]
    return telling[-1] if telling else ""


def rotated(running: list[Running[ServerT]], by: int) -> list[Running[ServerT]]:
    """The same, beginning with another one in each round, so that none always comes after the same."""
    by %= max(len(running), 1)
    return running[by:] + running[:by]


class Others:
    """How busy the machine is with what is not this process and its children, since now."""

    def __init__(self) -> None:
        """Counts from here on."""
        self._at, self._others_s = time.perf_counter(), self._used_s()

    def part(self) -> float:
        """Of all cores' time, in [0, 1]."""
        could_s = (time.perf_counter() - self._at) * (os.cpu_count() or 1)
        return min(max((self._used_s() - self._others_s) / could_s, 0.0), 1.0)

    @staticmethod
    def _used_s() -> float:
        return tree.machine_cpu_s() - tree.cpu_s(os.getpid())


def _fill(word: str, fill: Mapping[str, str]) -> str:
    for name, value in fill.items():
        word = word.replace(name, value)
    return word


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
