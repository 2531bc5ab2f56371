"""The table of servers that are compared."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from benchmarks.core.processes import DidNotStart, Running, launch

# Variables that would lead a server elsewhere, or set what is compared. OPENBLAS_* are set on some machines to an older
# core's kernels, which a user's machine would not have.
_OTHERS = ("EMBEDDING_", "DTYPE", "INFINITY_", "MAX_", "OPENBLAS_", "OMP_", "MKL_", "TOKENIZERS_", "DATA_DIR")


# The model is a folder; a look at the hub would be time that is not the server's.
_OFFLINE = {"HF_HUB_OFFLINE": "1"}


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
    health: str = "/health"
    starts: int = 1  # how often the start is measured, after one that is not; 0: the first one is
    is_ours: bool = False


def _ours(name: str, about: str, backend: str, dtype: str | None = None) -> Server:
    env = {
        "EMBEDDING_PORT": "{port}",
        "EMBEDDING_BACKEND": backend,
        "DATA_DIR": "{data}",
        "LOG_LEVEL": "WARNING",
        **_OFFLINE,
    }
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
        env={"NAIVE_PORT": "{port}", "NAIVE_MODEL": str(model), **_OFFLINE},
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
        env={"DO_NOT_TRACK": "1", **_OFFLINE},
        route="/embeddings",
        body=lambda texts: {"model": "default", "input": texts},
        vectors=lambda answer: [row["embedding"] for row in answer["data"]],
        about=" ".join(["infinity-emb v2 --engine torch --device cpu", *fastest]),
    )


def start(server: Server, folder: Path) -> Running[Server]:
    """Start it and wait until /health answers 200. folder: for its data and log. Fails with DidNotStart."""
    running = launch(server, folder, _OTHERS)
    try:
        _check_info(running)
    except BaseException:
        running.stop()
        raise
    return running


def _check_info(running: Running[Server]) -> None:
    # A setting that a service does not know is ignored there: what it says it runs decides, not what it was told.
    if not running.server.info:
        return
    said = orjson.loads(httpx.get(f"{running.url}/info", timeout=5).content)
    for name, value in running.server.info.items():
        if said.get(name) != value:
            raise DidNotStart(f"/info says {name} {said.get(name)!r}, not {value!r}")
