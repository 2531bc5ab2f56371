"""The table of servers that are compared, each as its own users start it, and the fake upstream behind them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson

from benchmarks.core.processes import Running, launch
from benchmarks.llm import wire

# Variables that would lead a server elsewhere, or set what is compared.
_OTHERS = ("LLM_", "OPENAI_", "LITELLM_", "BARE_", "UPSTREAM_", "LOG_LEVEL", "ALLOWED_HOSTS", "DATABASE_", "REDIS_")

_UPSTREAM_KEY = "sk-of-the-upstream"


@dataclass(frozen=True, slots=True)
class Server:
    """One row of the table. `command` and `env` may hold {port}. part: of a load's requests that it gets."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    health: str
    about: str
    part: float = 1.0


UPSTREAM = Server(
    "upstream",
    (sys.executable, "-m", "benchmarks.llm.upstream"),
    {"UPSTREAM_PORT": "{port}"},
    "/health",
    "the fake upstream itself, asked directly: what the client and the upstream can do",
)


def gateway_env(upstream_url: str, folder: Path) -> dict[str, str]:
    """How the gateway is set: everything that costs a request something is on, as in production.

    folder: for files that settings name. Metrics and the access log are on by default.
    """
    keys = folder / "keys.toml"
    limits = "requests_per_minute = 1000000000\ntokens_per_minute = 1000000000\n"
    keys.write_text(f'[[key]]\nname = "bench"\nsha256 = "{sha256(wire.KEY.encode()).hexdigest()}"\n{limits}')
    return {
        "LLM_PORT": "{port}",
        "LLM_BASE_URL": upstream_url + "/v1",
        "LLM_UPSTREAM_API_KEY": _UPSTREAM_KEY,
        "LLM_KEYS_FILE": str(keys),
    }


def table(upstream_url: str, folder: Path, litellm: Path | None) -> list[Server]:
    """Every server that can be compared. litellm: its program; None: left out. folder: for configuration files."""
    rows = [
        Server(
            "gateway",
            (sys.executable, "-m", "llm_service"),
            gateway_env(upstream_url, folder),
            "/readyz",
            "python -m llm_service: keys, limits, metrics and its access log",
        ),
        Server(
            "bare",
            (sys.executable, "-m", "benchmarks.llm.bare"),
            {"BARE_PORT": "{port}", "BARE_UPSTREAM": upstream_url + "/v1", "BARE_UPSTREAM_KEY": _UPSTREAM_KEY},
            "/health",
            "FastAPI and aiohttp in 30 lines: uvloop, httptools, no keys, no limits, no metrics, no log",
        ),
    ]
    return [*rows, _litellm(litellm, upstream_url, folder)] if litellm else rows


def _litellm(program: Path, upstream_url: str, folder: Path) -> Server:
    # As its page "Production Best Practices" has it, less what needs a database. JSON is YAML.
    config = {
        "model_list": [
            {
                "model_name": wire.MODEL,
                "litellm_params": {
                    "model": f"openai/{wire.MODEL}",
                    "api_base": upstream_url + "/v1",
                    "api_key": _UPSTREAM_KEY,
                },
            }
        ],
        "litellm_settings": {"set_verbose": False, "request_timeout": 600},
        "general_settings": {"master_key": wire.KEY},
    }
    path = folder / "litellm.yaml"
    path.write_bytes(orjson.dumps(config))
    return Server(
        "litellm",
        (
            *(str(program), "--config", str(path), "--host", "127.0.0.1", "--port", "{port}"),
            *("--num_workers", "1", "--telemetry", "False"),
        ),
        {
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_DISABLE_ACCESS_LOG_PATHS": "/v1/chat/completions",
            # Else it asks GitHub for prices when it starts.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONPATH": "",
        },
        "/health/liveliness",
        f"LiteLLM's proxy, {_version()}: one worker, master key, no database, logs only errors",
        part=1 / 8,
    )


def _version() -> str:
    lines = Path(__file__).with_name("requirements-litellm.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith("litellm"))


def start(server: Server, folder: Path) -> Running[Server]:
    """Start one and wait until it answers. Fails with DidNotStart."""
    return launch(server, folder, _OTHERS)
