"""What the scripted provider refuses, in OpenAI's words."""

import asyncio
import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_service.core.errors import Refused
from llm_service.providers.base import Call
from llm_service.providers.scripted.script import CHAT, EMBEDDINGS, ROUTES
from tests.support.providers import USER, ask, call_of, playing, rest_of, whole


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"model": "gone"}, 404, "model", "model_not_found"),
        ({"model": None}, 400, "model", "missing_required_parameter"),
        ({"model": 3}, 400, "model", "invalid_type"),
        ({"temperature": "hot"}, 400, "temperature", "invalid_type"),
        ({"temperature": True}, 400, "temperature", "invalid_type"),
        ({"temperature": 2.5}, 400, "temperature", "decimal_above_max_value"),
        ({"top_p": -0.1}, 400, "top_p", "decimal_below_min_value"),
        ({"n": 0}, 400, "n", "integer_below_min_value"),
        ({"n": 1.5}, 400, "n", "invalid_type"),
        ({"max_tokens": 0}, 400, "max_tokens", "integer_below_min_value"),
        ({"stop": [1]}, 400, "stop", "invalid_type"),
        ({"stream_options": True}, 400, "stream_options", "invalid_type"),
        ({"messages": None}, 400, "messages", "missing_required_parameter"),
        ({"messages": "hi"}, 400, "messages", "invalid_type"),
        ({"messages": []}, 400, "messages", "empty_array"),
        ({"messages": ["hi"]}, 400, "messages[0]", "invalid_type"),
        ({"messages": [{"content": "hi"}]}, 400, "messages[0].role", "invalid_type"),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content", "invalid_type"),
    ],
)
async def test_a_wrong_request_is_refused_as_openai_refuses_it(
    fields: dict[str, Any], status: int, param: str, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await ask(playing(), **fields)
    details = {"type": "invalid_request_error", "param": param, "code": code}
    assert (refused.value.status, refused.value.details) == (status, details)
    assert param.split("[")[0] in refused.value.message


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"a": "\xff"}'])
async def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="JSON"):
        await playing().send(call_of(CHAT, body))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"messages": [{"role": "user", "content": "word " * 100}]}, "your messages resulted in 10[0-9] tokens"),
        ({"max_tokens": 100}, r"you requested 11[0-9] tokens \(1[0-9] in the messages, 100 in the completion\)"),
    ],
)
async def test_a_request_over_the_window_is_refused_in_openais_words(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=f"maximum context length is 100 tokens. However, {told}") as refused:
        await ask(playing(max_model_len=100), **fields)
    assert (refused.value.status, refused.value.details["code"]) == (400, "context_length_exceeded")


async def test_a_prompt_that_fills_the_window_leaves_no_room_for_an_answer() -> None:
    count = (await whole(playing(), "/tokenize", messages=USER))["count"]
    assert (await whole(playing(max_model_len=count + 1)))["usage"]["completion_tokens"] == 1
    with pytest.raises(Refused, match="Please reduce the length of the messages"):
        await ask(playing(max_model_len=count))
    embedded = await whole(playing(max_model_len=2), EMBEDDINGS, input="a b")  # an embedding needs no room
    assert embedded["usage"]["prompt_tokens"] == 2


async def test_an_answer_ends_where_the_window_does() -> None:
    said = await whole(playing({"say_tokens": 1000}, max_model_len=100))
    assert said["choices"][0]["finish_reason"] == "length"
    assert said["usage"]["total_tokens"] == 100


async def test_a_wrong_request_does_not_wait_for_the_models_pace() -> None:
    with pytest.raises(Refused):
        await ask(playing(first_token_s=60), temperature="hot", within_s=20)


async def test_a_route_that_it_has_not_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        await ask(playing(), "/v1/images/generations")
    assert (refused.value.status, refused.value.details["code"]) == (404, "unknown_url")


_FIELDS = (
    "model messages prompt input tokens n stop seed temperature max_tokens stream_options dimensions encoding_format "
    "role content type text user tool_calls function name arguments"
)
_NAMES = st.sampled_from(_FIELDS.split())
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["scripted", "user", "text"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=6),
    max_leaves=20,
)


@given(path=st.sampled_from([*ROUTES, "/other"]), body=st.dictionaries(_NAMES, _VALUES), is_stream=st.booleans())
@settings(max_examples=400, deadline=None)
@example(
    path=CHAT, body={"model": "scripted", "messages": [{"role": "a", "tool_calls": [{"function": []}]}]}, is_stream=True
)
async def test_any_json_is_answered_or_refused(path: str, body: dict[str, Any], is_stream: bool) -> None:
    provider = playing({"contains": "text", "say": "x"})
    far = asyncio.get_running_loop().time() + 5
    content = json.dumps({"model": "scripted", **body}).encode()
    with contextlib.suppress(Refused):
        answer = await provider.send(Call(path, content, is_stream, far, far))
        reads = await rest_of(answer)
        assert reads[-1] == b"data: [DONE]\n\n" if answer.is_stream else isinstance(orjson.loads(reads[0]), dict)


async def test_a_request_that_is_nested_deeper_than_json_is_written_is_no_failure_of_ours() -> None:
    deep = b"[" * 400 + b"]" * 400
    body = b'{"model":"scripted","messages":[{"role":"user","content":"a","tool_calls":%b}],"x":%b}' % (deep, deep)
    assert (await playing().send(call_of(CHAT, body))).first.startswith(b'{"id":')
