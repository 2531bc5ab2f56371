"""A real vLLM on the CPU with a tiny model of random weights, started for the tests that `make test-vllm` runs."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.live import free_port
from tests.support.tiny_qwen2 import POSITIONS, write_tiny_qwen2

ROOT = Path(__file__).resolve().parents[2]

# 20 to 40 s on two cores; four times that where they are shared.
START_LIMIT_S = 160

MODEL = "tiny/Qwen2-Random"  # with a slash, as names of served models have it


@dataclass(frozen=True, slots=True)
class Vllm:
    """A running server. url has no /v1; key: what it was given as --api-key."""

    url: str
    key: str
    log: Path
    leash: subprocess.Popen[bytes]
    model: str = MODEL
    max_model_len: int = POSITIONS

    def busy(self) -> tuple[int, int]:
        """How many requests it computes, and how many wait in its queue: its own gauges."""
        text = httpx.get(self.url + "/metrics", timeout=30).text
        running, waiting = (
            re.search(rf"^vllm:num_requests_{name}\{{.*\}} (\S+)$", text, re.MULTILINE)
            for name in ("running", "waiting")
        )
        assert running is not None, "this vLLM has no gauge of running requests"
        assert waiting is not None, "this vLLM has no gauge of waiting requests"
        return int(float(running[1])), int(float(waiting[1]))

    def tell_engine(self, number: signal.Signals) -> None:
        """Send a signal to the process that computes; its HTTP server is another."""
        told = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
        rows = [line.split(maxsplit=2) for line in told.splitlines()]
        server = next(int(pid) for pid, parent, _ in rows if int(parent) == self.leash.pid)
        engine = next(int(pid) for pid, parent, name in rows if int(parent) == server and "EngineCore" in name)
        os.kill(engine, number)


@contextmanager
def vllm_server(folder: Path) -> Iterator[Vllm]:
    """Serve until the block ends. folder: for the model and the log. Fails where VLLM_PYTHON has no vLLM to run."""
    model = folder / "model"
    model.mkdir()
    write_tiny_qwen2(model)
    port, key = free_port(), "key-of-the-upstream"
    with (folder / "vllm.log").open("wb") as log:
        leash = subprocess.Popen(
            [sys.executable, "-m", "tests.support.leashed", _python(), *_command(port, key, model)],
            env=_environment(),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for pytest, whose end ends this
        )
    assert leash.stdin is not None
    vllm = Vllm(f"http://127.0.0.1:{port}", key, folder / "vllm.log", leash)
    try:
        _wait_until_ready(vllm)
        yield vllm
    finally:
        leash.stdin.close()
        leash.wait(30)


def _python() -> str:
    """The interpreter of the environment that has vLLM: an absence is a failure, and no reason to skip."""
    python = os.environ.get("VLLM_PYTHON", str(ROOT / ".venv/vllm/bin/python"))
    assert Path(python).is_file(), f"{python} is not there; `make test-vllm` makes the environment"
    return python


def _command(port: int, key: str, model: Path) -> list[str]:
    words = {
        "--model": str(model),
        "--served-model-name": MODEL,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--api-key": key,
        "--max-model-len": str(POSITIONS),
        "--max-num-seqs": "1",  # so that a second request waits in the queue: the phase before the first token
        "--dtype": "float32",
        "--distributed-executor-backend": "uni",
    }
    # Eager: compiling takes longer than all the tests.
    flags = ["--enforce-eager", "--enable-prompt-tokens-details"]
    return ["-m", "vllm.entrypoints.openai.api_server", *flags, *(word for pair in words.items() for word in pair)]


def _environment() -> dict[str, str]:
    # Without compiled modules, which pip has left out, a start takes 40 s; the first one writes them, the next take 20.
    inherited = {k: v for k, v in os.environ.items() if k not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}}
    return {
        **inherited,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB, of 4 by default
        # A worker of its own and the engine wait for each other by spinning, and two threads of OpenMP do: of two cores
        # they leave none to vLLM's HTTP server, whose /metrics then took 2.3 s, nor to the tests. This makes the engine
        # its own worker, of one thread that is bound to no core; it takes 0 for "where the backend is uni, let it be".
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }


def _wait_until_ready(vllm: Vllm) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not _is_ready(vllm):
        tail = vllm.log.read_text("utf-8", "replace")[-3000:]
        assert vllm.leash.poll() is None, f"vLLM ended while it started:\n{tail}"
        assert time.monotonic() < deadline, f"vLLM is not ready after {START_LIMIT_S} s:\n{tail}"
        time.sleep(0.25)


def _is_ready(vllm: Vllm) -> bool:
    try:
        return httpx.get(vllm.url + "/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
