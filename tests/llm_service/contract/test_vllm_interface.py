"""The gateway is vLLM's interface too: what only vLLM knows reaches it, and is proved by what it does there."""

from typing import Any

import httpx
import openai
import orjson
import pytest

from tests.llm_service.contract.conftest import VLLM, Gateway
from tests.llm_service.contract.test_gateway_contract import GREEDY, HELLO, assert_envelope
from tests.support.vllm_server import Vllm

pytestmark = pytest.mark.parametrize("gateway", [VLLM], indirect=True)


def say(gateway: Gateway, **extra: Any) -> Any:
    """A whole answer to hello, with fields that OpenAI's client does not know."""
    return gateway.sdk.chat.completions.create(model=gateway.model, messages=HELLO, extra_body=extra)


def test_min_tokens_and_ignore_eos_give_exactly_so_many(gateway: Gateway) -> None:
    answer = say(gateway, max_tokens=33, min_tokens=33, ignore_eos=True)
    assert answer.usage.completion_tokens == 33
    assert answer.choices[0].finish_reason == "length"


def test_top_k_of_one_is_greedy_at_any_temperature(gateway: Gateway) -> None:
    greedy = say(gateway, max_tokens=16, temperature=0).choices[0].message.content
    assert say(gateway, max_tokens=16, temperature=2, top_k=1).choices[0].message.content == greedy
    assert say(gateway, max_tokens=16, temperature=2, seed=1).choices[0].message.content != greedy


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_structured_outputs_bind_the_answer(gateway: Gateway, stream: bool) -> None:
    asked = {"messages": HELLO, "max_tokens": 20, "structured_outputs": {"choice": ["certainly", "never"]}}
    response = gateway.post("/v1/chat/completions", stream=stream, **asked)
    if stream:
        pieces = [orjson.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
        said = "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces)
    else:
        said = response.json()["choices"][0]["message"]["content"]
    assert said in {"certainly", "never"}


def test_a_json_schema_binds_the_answer(gateway: Gateway) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    closed = {**schema, "additionalProperties": False}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": closed}}
    answer = gateway.sdk.chat.completions.create(
        model=gateway.model, messages=HELLO, max_tokens=300, temperature=0, response_format=wanted
    )
    assert set(orjson.loads(answer.choices[0].message.content or "")) == {"ok"}


def test_chat_template_kwargs_reach_the_template(gateway: Gateway) -> None:
    plain, told = say(gateway, max_tokens=1), say(gateway, max_tokens=1, chat_template_kwargs={"preamble": "Be brief."})
    assert told.usage.prompt_tokens > plain.usage.prompt_tokens


def test_a_structure_that_is_none_is_refused_and_no_stream_says_done(gateway: Gateway) -> None:
    """vLLM answers the stream with 200, an error event and [DONE]."""
    asked = {"structured_outputs": {"regex": "("}, **GREEDY}
    whole = gateway.post("/v1/chat/completions", **asked)
    assert whole.status_code == 400
    assert assert_envelope(whole.json())["type"] == "invalid_request_error"
    streamed = gateway.post("/v1/chat/completions", stream=True, **asked)
    assert "[DONE]" not in streamed.text
    told = streamed.text.strip().removeprefix("data: ")
    assert "regex" in assert_envelope(orjson.loads(told))["message"]
    with pytest.raises(openai.APIError):
        list(gateway.sdk.chat.completions.create(model=gateway.model, stream=True, extra_body=asked, messages=HELLO))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tokens_from_the_prefix_cache_are_counted(gateway: Gateway, stream: bool) -> None:
    body = {"messages": [{"role": "user", "content": f"a long preamble, {stream} " * 15}], "max_tokens": 1}
    usages = [gateway.post("/v1/chat/completions", **body).json()["usage"] for _ in range(2)]
    cached = usages[1]["prompt_tokens_details"]["cached_tokens"]
    assert cached > 0
    before = gateway.tokens("cached")
    gateway.post("/v1/chat/completions", stream=stream, **body)
    assert gateway.tokens("cached") - before == cached


def test_tokens_go_there_and_back(gateway: Gateway, vllm: Vllm) -> None:
    text = "def rank(hits):\n    return sorted(hits)  # größte zuerst"
    tokens = gateway.post("/tokenize", prompt=text).json()
    direct = httpx.post(vllm.url + "/tokenize", json={"model": vllm.model, "prompt": text}).json()
    assert tokens == direct
    assert tokens["count"] == len(tokens["tokens"]) > 5
    assert gateway.post("/detokenize", tokens=tokens["tokens"]).json() == {"prompt": text}


def test_a_conversation_has_as_many_tokens_as_its_answer_says(gateway: Gateway) -> None:
    counted = gateway.post("/tokenize", messages=HELLO).json()["count"]
    assert say(gateway, max_tokens=1).usage.prompt_tokens == counted


def test_tokenize_refuses_in_the_envelope(gateway: Gateway) -> None:
    assert gateway.post("/tokenize").status_code == 400
    assert_envelope(gateway.post("/tokenize").json())
    unknown = gateway.post("/tokenize", model="no-such-model", prompt="a")
    assert unknown.status_code == 404
    assert assert_envelope(unknown.json())["code"] == "model_not_found"


def test_the_version_is_vllms(gateway: Gateway, vllm: Vllm) -> None:
    assert httpx.get(gateway.url + "/version").json() == httpx.get(vllm.url + "/version").json()


def test_more_tokens_than_the_window_is_the_callers_error(gateway: Gateway) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        gateway.sdk.chat.completions.create(model=gateway.model, messages=HELLO, max_tokens=100_000)
    assert assert_envelope(caught.value.response.json())["param"] == "max_tokens"


def test_embeddings_of_a_model_that_has_none_are_refused_in_the_envelope(gateway: Gateway) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        gateway.sdk.embeddings.create(model=gateway.model, input="a")
    assert_envelope(caught.value.response.json())
