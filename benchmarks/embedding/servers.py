"""The table of servers that are compared, and the life of one: start, health, end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from benchmarks.embedding import tree

ROOT = Path(__file__).resolve().parents[2]

# infinity-emb warms up for 10 s on two cores; the first start of ours writes its graph.
START_LIMIT_S = 180
STOP_LIMIT_S = 10

# Variables that would lead a server elsewhere, or set what is compared. OPENBLAS_* are set on some machines to an older
# core's kernels, which a user's machine would not have.
_OTHERS = ("EMBEDDING_", "DTYPE", "INFINITY_", "MAX_", "OPENBLAS_", "OMP_", "MKL_", "TOKENIZERS_", "DATA_DIR")


class DidNotStart(Exception):
    """A server ended, did not answer in time, or is not what it was started as; the text says which."""


@dataclass(frozen=True, slots=True)
class Server:
    """One row of the table. `command` and `env` may hold {port} and {data}, a folder that lasts for the run."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    route: str
    body: Callable[[list[str]], dict[str, Any]]
    vectors: Callable[[Any], list[list[float]]]  # of the decoded answer
    about: str
    info: Mapping[str, str] = field(default_factory=dict)  # what /info must say, where it has one
    starts: int = 1  # how often the start is measured, after one that is not; 0: the first one is
    is_ours: bool = False


def _ours(name: str, about: str, backend: str, dtype: str | None = None) -> Server:
    env = {"EMBEDDING_PORT": "{port}", "EMBEDDING_BACKEND": backend, "DATA_DIR": "{data}", "LOG_LEVEL": "WARNING"}
    return Server(
        name=name,
        command=(sys.executable, "-m", "embedding_service"),
        env={**env, "DTYPE": dtype} if dtype else env,
        route="/embed",
        body=lambda texts: {"inputs": texts},
        vectors=lambda answer: answer,
        about=about,
        info={"model_dtype": dtype} if dtype else {},
        starts=3,
        is_ours=True,
    )


def table(model: Path, infinity: Path | None) -> list[Server]:
    """Every server that can be compared. model: the folder of the model. infinity: its program; None: left out."""
    naive = Server(
        name="naive",
        command=(sys.executable, "-m", "benchmarks.embedding.naive"),
        env={"NAIVE_PORT": "{port}", "NAIVE_MODEL": str(model)},
        route="/embed",
        body=lambda texts: {"inputs": texts},
        vectors=lambda answer: answer,
        about="FastAPI, def endpoint, SentenceTransformer.encode(batch_size=32), torch's default threads",
    )
    rows = [
        _ours("onnx", "this service, ONNX Runtime, float32 (the default)", "onnx"),
        _ours("onnx-int8", "this service, ONNX Runtime, int8", "onnx", "int8"),
        _ours("torch", "this service, sentence_transformers", "sentence_transformers"),
        _ours("static", "this service, static table (another model: far weaker vectors)", "static"),
        naive,
    ]
    return [*rows, _infinity(infinity, model)] if infinity else rows


def _infinity(program: Path, model: Path) -> Server:
    # Its fastest here. Interleaved, bulk and 64 single queries, texts a CPU-second: --compile 15.3 and 239, its default
    # (SDPA, where optimum is not installed) 13.8 and 239, BetterTransformer (transformers 4.48, optimum 1.24) 14.1 and
    # 245. torch.compile needs a C++ compiler.
    compiles = shutil.which("g++") or shutil.which("clang++")
    fastest = ("--no-bettertransformer", "--compile") if compiles else ()
    return Server(
        name="infinity",
        command=(
            *(str(program), "v2", "--model-id", str(model), "--served-model-name", "default"),
            *("--engine", "torch", "--device", "cpu", "--host", "127.0.0.1", "--port", "{port}"),
            *("--log-level", "warning", *fastest),
        ),
        env={"DO_NOT_TRACK": "1"},
        route="/embeddings",
        body=lambda texts: {"model": "default", "input": texts},
        vectors=lambda answer: [row["embedding"] for row in answer["data"]],
        about=" ".join(["infinity-emb v2 --engine torch --device cpu", *fastest]),
    )


@dataclass(slots=True)
class Running:
    """A server that answers."""

    server: Server
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    start_s: float  # from its spawn to the first 200 of /health

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


def start(server: Server, folder: Path) -> Running:
    """Start it and wait until /health answers 200. folder: for its data and log. Fails with DidNotStart."""
    port = str(_free_port())
    fill = {"{port}": port, "{data}": str(folder / "data")}
    log = folder / f"{server.name}.log"
    work = folder / "work"  # no .env of the developer's is read in here
    work.mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    env = {**inherited, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **_filled(server.env, fill)}
    started = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [_fill(word, fill) for word in server.command],
            env=env, cwd=work, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    running = Running(server, f"http://127.0.0.1:{port}", process, log, 0.0)
    try:
        _wait(running, started)
        _check_info(running)
    except BaseException:
        running.stop()
        raise
    return running


def _wait(running: Running, started: float) -> None:
    deadline = started + START_LIMIT_S
    while time.perf_counter() < deadline:
        if running.process.poll() is not None:
            raise DidNotStart(last_line(running.log) or f"ended with exit code {running.process.returncode}")
        with suppress(httpx.TransportError):
            if httpx.get(f"{running.url}/health", timeout=5).status_code == 200:
                running.start_s = time.perf_counter() - started
                return
        time.sleep(0.02)
    raise DidNotStart(f"no 200 of /health within {START_LIMIT_S} s; its log ends: {last_line(running.log)}")


def _check_info(running: Running) -> None:
    # A setting that a service does not know is ignored there: what it says it runs decides, not what it was told.
    if not running.server.info:
        return
    said = orjson.loads(httpx.get(f"{running.url}/info", timeout=5).content)
    for name, value in running.server.info.items():
        if said.get(name) != value:
            raise DidNotStart(f"/info says {name} {said.get(name)!r}, not {value!r}")


def last_line(log: Path) -> str:
    """The last line of a log that says something; pydantic's closes with a link, which does not."""
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines()]
    telling = [line for line in lines if line and not line.startswith("For further information visit")]
    return telling[-1] if telling else ""


def _filled(env: Mapping[str, str], fill: Mapping[str, str]) -> dict[str, str]:
    return {name: _fill(value, fill) for name, value in env.items()}


def _fill(word: str, fill: Mapping[str, str]) -> str:
    for name, value in fill.items():
        word = word.replace(name, value)
    return word


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
