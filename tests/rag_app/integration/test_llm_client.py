"""The language model's client against a real server that says what the test tells it to."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from llama_index.core.llms import ChatMessage
from starlette.types import Receive, Scope, Send

from rag_app.clients.llm import GatewayLlm, close_llm, create_llm
from rag_app.core.settings import RagSettings
from service_kit.context import request_id
from service_kit.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable, Upstream
from tests.support.dripping_llm import DrippingLlm
from tests.support.live import free_port, live
from tests.support.scripted_llm import ScriptedLlm

HELLO = [ChatMessage(role="user", content="hello")]


@pytest.fixture
def server() -> ScriptedLlm:
    return ScriptedLlm()


@pytest.fixture
def url(server: ScriptedLlm) -> Iterator[str]:
    with live(server.app()) as base:
        yield f"{base}/v1"


_made: list[GatewayLlm] = []


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    while _made:
        await close_llm(_made.pop())


def client(url: str, timeout_s: float = 20.0) -> GatewayLlm:
    _made.append(create_llm(RagSettings(_env_file=None, llm_url=url, llm_timeout_s=timeout_s, llm_model="m1")))
    return _made[-1]


async def streamed(llm: GatewayLlm) -> str:
    return "".join([piece.delta or "" async for piece in await llm.astream_chat(HELLO)])


async def test_an_answer_comes_with_its_usage_and_the_request_id_travels(server: ScriptedLlm, url: str) -> None:
    token = request_id.set("from-the-caller")
    llm = client(url)
    answer = await llm.achat(HELLO)
    request_id.reset(token)
    await close_llm(llm)
    assert answer.message.content == "Hello."
    assert answer.additional_kwargs["prompt_tokens"] == 10
    assert server.headers[0]["x-request-id"] == "from-the-caller"
    assert server.requests[0]["model"] == "m1"


async def test_a_stream_comes_in_pieces_and_ends_with_its_usage(server: ScriptedLlm, url: str) -> None:
    server.will_say("The lock is in close.")
    pieces = [piece async for piece in await client(url).astream_chat(HELLO)]
    assert len(pieces) > 3
    assert "".join(piece.delta or "" for piece in pieces) == "The lock is in close."
    assert pieces[-1].additional_kwargs["completion_tokens"] == 7


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (503, {"error": {"message": "set OPENAI_API_KEY or LLM_BASE_URL"}}, Unavailable),
        (429, {"error": {"message": "slow down"}}, Overloaded),
        (504, {"error": {"message": "late"}}, DeadlineExceeded),
        (401, {"error": "Unauthorized"}, Upstream),
        (500, "oops", Upstream),
    ],
)
async def test_a_refusal_is_one_word_of_our_table_and_is_not_retried(
    server: ScriptedLlm, url: str, status: int, body: object, expected: type[ServiceError]
) -> None:
    for call in (lambda llm: llm.achat(HELLO), streamed):
        server.requests.clear()
        server.failures = [(status, body)]
        with pytest.raises(expected, match=str(status)):
            await call(client(url))
        assert len(server.requests) == 1


async def test_a_server_that_is_not_there_is_unavailable_and_names_the_setting() -> None:
    with pytest.raises(Unavailable, match="LLM_URL"):
        await client(f"http://127.0.0.1:{free_port()}/v1").achat(HELLO)


async def test_a_host_that_takes_no_connection_is_found_out_before_the_answers_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rag_app.clients.llm.CONNECT_TIMEOUT_S", 0.3)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):  # they fill the queue of a server that never accepts
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with pytest.raises(Unavailable, match="cannot be reached"):
            await client(f"http://127.0.0.1:{full.getsockname()[1]}/v1", timeout_s=20).achat(HELLO)


async def test_one_deadline_holds_for_the_whole_answer(server: ScriptedLlm, url: str) -> None:
    server.delay_s = 60
    with pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
        await client(url, timeout_s=0.2).achat(HELLO)
    with pytest.raises(DeadlineExceeded, match="LLM_TIMEOUT_S"):
        await streamed(client(url, timeout_s=0.2))


async def test_a_stream_that_never_ends_is_cut_at_the_deadline() -> None:
    with live(DrippingLlm()) as base, pytest.raises(DeadlineExceeded):
        await streamed(client(f"{base}/v1", timeout_s=0.5))


async def test_a_stream_that_breaks_off_is_an_upstream_failure() -> None:
    with live(DrippingLlm(breaks_off=True)) as base, pytest.raises(Upstream, match="broke off"):
        await streamed(client(f"{base}/v1"))


async def test_leaving_a_stream_ends_the_call() -> None:
    dripping = DrippingLlm()
    with live(dripping) as base:
        stream = await client(f"{base}/v1").astream_chat(HELLO)
        await anext(stream)
        await stream.aclose()
        for _ in range(1500):
            if dripping.left.is_set():
                break
            await asyncio.sleep(0.02)
        assert dripping.left.is_set()


async def test_an_answer_of_another_shape_is_an_upstream_failure() -> None:
    async def odd(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"detail": "hello"}'})

    with live(odd) as base, pytest.raises(Upstream, match="shape"):
        await client(f"{base}/v1").achat(HELLO)


def test_making_a_client_reaches_for_no_network_and_no_tokenizer_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    llm = client("http://models.example/v1")
    assert llm.metadata.context_window == 16_000
    assert llm.metadata.is_chat_model
    assert list(tmp_path.iterdir()) == []
