"""A real vLLM that falls silent, and one that dies, in the middle of an answer."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.contract.conftest import LONG
from tests.llm_service.contract.test_gateway_contract import HELLO, assert_envelope
from tests.support.vllm_server import Vllm, vllm_server

pytestmark = pytest.mark.vllm


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Vllm]:
    """A server of this test's own, since it does not survive it."""
    with vllm_server(tmp_path) as server:
        yield server


def gateway_before(vllm: Vllm, start: Start, **settings: float) -> str:
    return start(llm_base_url=vllm.url + "/v1", llm_upstream_api_key=vllm.key, **settings)


def events_with(url: str, vllm: Vllm, happens: signal.Signals) -> list[str]:
    """The events of a long stream, in the middle of which vLLM's engine gets a signal."""
    body = {"model": vllm.model, "stream": True, **LONG}
    with httpx.stream("POST", url + "/v1/chat/completions", json=body, timeout=60) as response:
        assert response.status_code == 200
        events: list[str] = []
        for line in response.iter_lines():
            if line.startswith("data: "):
                events.append(line.removeprefix("data: "))
                if len(events) == 10:
                    vllm.tell_engine(happens)
    return events


def test_an_engine_that_dies_ends_the_stream_with_an_error_and_without_done(mortal: Vllm, start: Start) -> None:
    """vLLM itself sends its error event, and then [DONE] as if all were well."""
    url = gateway_before(mortal, start)
    *answer, last = events_with(url, mortal, signal.SIGKILL)
    assert len(answer) >= 10
    assert "[DONE]" not in answer
    assert assert_envelope(orjson.loads(last))["type"] == "server_error"
    deadline = time.monotonic() + 60
    while mortal.leash.poll() is None:  # the HTTP server follows its engine
        assert time.monotonic() < deadline, "vLLM serves on without its engine"
        time.sleep(0.1)
    response = httpx.post(url + "/v1/chat/completions", json={"model": mortal.model, "messages": HELLO}, timeout=60)
    assert response.status_code == 503
    assert_envelope(response.json())
    assert httpx.get(url + "/readyz").status_code == 503


def test_an_engine_that_falls_silent_is_left_at_the_deadline_between_tokens(vllm: Vllm, start: Start) -> None:
    url = gateway_before(vllm, start, llm_idle_timeout_s=1.0)
    started = time.monotonic()
    try:
        *answer, last = events_with(url, vllm, signal.SIGSTOP)
    finally:
        vllm.tell_engine(signal.SIGCONT)
    assert time.monotonic() - started < 30  # and not by the other deadlines, of a minute or more
    assert "[DONE]" not in answer
    assert "silent for 1 s" in assert_envelope(orjson.loads(last))["message"]
    deadline = time.monotonic() + 30
    while vllm.busy() != (0, 0):  # the gateway has let go of its connection: nothing computes for nobody
        assert time.monotonic() < deadline, "vLLM works on for a client that the gateway has sent away"
        time.sleep(0.05)
