"""The gateway before each thing that can be behind it: a real vLLM, the scripted provider, nothing."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.llm_service.conftest import Start
from tests.support.vllm_server import Vllm, vllm_server

# Indirect parameters of `gateway`. `make test` leaves out what is marked vllm, `make test-vllm` the rest.
VLLM = pytest.param("vllm", marks=pytest.mark.vllm)
MODELS = [VLLM, "scripted"]
EVERYTHING = [*MODELS, "none"]

# What takes seconds to answer: of vLLM by its number of tokens, of the script by its rule.
LONG: dict[str, Any] = {
    "messages": [{"role": "user", "content": "take your time"}],
    "max_tokens": 450,
    "ignore_eos": True,
}

SCRIPT = """
models = ["scripted"]
max_model_len = 512

[[rules]]
contains = "take your time"
say_tokens = 460
between_tokens_s = 0.01

[[rules]]
contains = "think first"
first_token_s = 60.0

[[rules]]
contains = "hello"
say = "The lock is taken before the file is read, and released after the last write."
"""


@dataclass(frozen=True)
class Gateway:
    """A gateway and what is behind it. busy: how many requests that computes, and how many wait in it."""

    kind: str
    url: str
    model: str = "none"
    max_model_len: int = 0
    vllm: Vllm | None = None
    busy: Callable[[], tuple[int, int]] = lambda: (0, 0)

    @property
    def sdk(self) -> openai.OpenAI:
        """OpenAI's own client: the judge of what an answer is."""
        return openai.OpenAI(base_url=self.url + "/v1", api_key="of-a-caller", max_retries=0, timeout=60)

    def post(self, path: str, **body: Any) -> httpx.Response:
        """The bare answer, for what the SDK does not show."""
        return httpx.post(self.url + path, json={"model": self.model, **body}, timeout=60)

    def tokens(self, kind: str) -> float:
        """How many tokens of this kind /metrics has counted: "prompt", "completion" or "cached"."""
        text = httpx.get(self.url + "/metrics", timeout=30).text
        return sum(float(n) for n in re.findall(rf'^llm_tokens_total\{{.*"{kind}".*\}} (\S+)$', text, re.MULTILINE))

    def in_flight(self) -> tuple[int, int]:
        """As busy: by the gateway's own gauge, less the request that asks."""
        text = httpx.get(self.url + "/metrics", timeout=30).text
        gauge = re.search(r"^http_requests_in_flight (\S+)$", text, re.MULTILINE)
        assert gauge is not None, "the gateway has no gauge of requests in flight"
        return int(float(gauge[1])) - 1, 0


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """One server for all tests: it takes longer to start than they do to run."""
    with vllm_server(tmp_path_factory.mktemp("vllm")) as server:
        yield server


@pytest.fixture
def gateway(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Gateway:
    match request.param:
        case "vllm":
            server: Vllm = request.getfixturevalue("vllm")
            url = start(llm_base_url=server.url + "/v1", llm_upstream_api_key=server.key)
            return Gateway("vllm", url, server.model, server.max_model_len, server, server.busy)
        case "scripted":
            url = _scripted(start, tmp_path, SCRIPT)
            return Gateway("scripted", url, "scripted", 512, busy=Gateway("scripted", url).in_flight)
        case _:
            return Gateway("none", start())


@pytest.fixture
def locked_out(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Gateway:
    """A gateway whose key is refused by what is behind it."""
    if request.param == "scripted":
        return Gateway("scripted", _scripted(start, tmp_path, '[[rules]]\npath = "*"\nstatus = 401\n'), "scripted")
    server: Vllm = request.getfixturevalue("vllm")
    return Gateway("vllm", start(llm_base_url=server.url + "/v1", llm_upstream_api_key=WRONG_KEY), server.model)


WRONG_KEY = "planted-wrong-key"


def _scripted(start: Start, folder: Path, script: str) -> str:
    path = folder / "script.toml"
    path.write_text(script)
    return start(llm_provider="scripted", llm_script=str(path))
