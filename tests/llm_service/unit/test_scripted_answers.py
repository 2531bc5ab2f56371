"""What the scripted provider says, and on which routes."""

import base64
import math
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from llm_service.core.errors import Refused
from llm_service.providers.base import AttemptFailed, Provider
from llm_service.providers.scripted.script import CHAT, COMPLETIONS, EMBEDDINGS
from service_kit.errors import DeadlineExceeded, NotFound, Upstream
from tests.support.providers import USER, ask, events, playing, text_in, whole

# what it says


async def test_the_same_question_gets_the_same_answer_byte_for_byte_from_any_instance() -> None:
    first = await ask(playing())
    assert first.first == (await ask(playing())).first
    assert orjson.loads(first.first)["choices"][0]["message"]["content"].count(" ") == 23  # 24 words


async def test_another_question_seed_or_choice_gets_another_answer() -> None:
    said = await whole(playing(), n=2)
    texts = {choice["message"]["content"] for choice in said["choices"]}
    for other in ({"messages": [{"role": "user", "content": "Why?"}]}, {"seed": 7}):
        texts.add((await whole(playing(), **other))["choices"][0]["message"]["content"])
    assert len(texts) == 4


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_a_stream_says_what_the_whole_answer_says(path: str) -> None:
    prompt = {} if path == CHAT else {"prompt": "def ", "max_tokens": 9}
    said = await whole(playing(), path, **prompt)
    chunks = await events(playing(), path, **prompt)
    choice = said["choices"][0]
    assert text_in(chunks) == (choice["message"]["content"] if path == CHAT else choice["text"])
    assert chunks[-1]["choices"][0]["finish_reason"] == choice["finish_reason"]


async def test_the_first_rule_that_matches_answers() -> None:
    provider = playing(
        {"matches": "(?i)^where", "stream": True, "say": "Streamed."},
        {"contains": "lock", "say": "In lock.py."},
        {"say": "No idea."},
    )
    assert text_in(await events(provider)) == "Streamed."
    assert (await whole(provider))["choices"][0]["message"]["content"] == "In lock.py."
    other = [
        *USER,
        {"role": "assistant", "content": "lock"},
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
    ]
    assert (await whole(provider, messages=other))["choices"][0]["message"]["content"] == "No idea."


async def test_a_rule_for_a_model_or_a_path_leaves_the_others_alone() -> None:
    provider = playing(
        {"model": "b", "say": "I am b."}, {"path": COMPLETIONS, "say": "Completed."}, {"say": "x"}, models=["a", "b"]
    )
    assert text_in(await events(provider, model="b")) == "I am b."
    assert (await whole(provider, COMPLETIONS, model="a", prompt="p"))["choices"][0]["text"] == "Completed."
    assert text_in(await events(provider, model="a")) == "x"


async def test_a_rule_may_act_a_stated_number_of_times() -> None:
    provider = playing({"times": 2, "status": 500}, {"say": "Well again."})
    for _ in range(2):
        with pytest.raises(AttemptFailed):
            await ask(provider)
    assert text_in(await events(provider)) == "Well again."


async def test_choices_take_the_texts_in_turn_and_come_interleaved_in_a_stream() -> None:
    provider = playing({"say": ["a b", "c"]})
    said = await whole(provider, n=3)
    assert [choice["message"]["content"] for choice in said["choices"]] == ["a b", "c", "a b"]
    assert said["usage"]["completion_tokens"] == 5
    chunks = await events(provider, n=3)
    assert [text_in(chunks, i) for i in range(3)] == ["a b", "c", "a b"]
    order = [(choice["index"], choice["delta"].get("content")) for chunk in chunks for choice in chunk["choices"]]
    assert order == [
        *[(0, ""), (1, ""), (2, "")],
        *[(0, "a"), (1, "c"), (2, "a"), (0, " b"), (2, " b")],
        *[(0, None), (1, None), (2, None)],
    ]


async def test_a_tool_call_is_said_whole_and_in_a_stream() -> None:
    provider = playing({"tool_calls": [{"name": "find", "arguments": {"query": "lock"}}]})
    choice = (await whole(provider))["choices"][0]
    function = {"name": "find", "arguments": '{"query":"lock"}'}
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == function
    assert choice["finish_reason"] == "tool_calls"
    chunks = await events(provider)
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert calls == [{"index": 0, **choice["message"]["tool_calls"][0]}]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_raw_fields_of_a_message_and_a_raw_body_are_said_as_they_are() -> None:
    provider = playing({"stream": True, "message": {"reasoning_content": "Hm."}}, {"body": {"answer": 42}})
    assert {"reasoning_content": "Hm."} in [chunk["choices"][0]["delta"] for chunk in await events(provider)]
    assert await whole(provider) == {"answer": 42}


async def test_a_body_that_is_a_string_is_said_to_the_letter() -> None:
    assert (await ask(playing({"body": '{"a":  1}'}))).first == b'{"a":  1}'


async def test_a_raw_body_answers_a_stream_whole() -> None:
    answer = await ask(playing({"body": {"answer": 42}}), stream=True)
    assert (answer.is_stream, answer.first, await answer.more()) == (False, b'{"answer":42}', b"")


async def test_a_finish_reason_is_the_scripts() -> None:
    provider = playing({"say": "a", "finish_reason": "content_filter"})
    assert (await whole(provider))["choices"][0]["finish_reason"] == "content_filter"


# its other routes


@pytest.mark.parametrize("text", ["", "def f(x):\n    return 'ä\x00日本🙂'", "\x01\x00", " " * 9, "a_b9 " * 50])
async def test_tokens_can_be_read_back(text: str) -> None:
    provider = playing()
    told = await whole(provider, "/tokenize", prompt=text)
    assert told["count"] == len(told["tokens"])
    assert told["max_model_len"] == 8192
    assert all(0 < number < 2**53 for number in told["tokens"])
    assert await whole(provider, "/detokenize", tokens=told["tokens"]) == {"prompt": text}


async def test_the_prompts_of_one_request_are_counted_together() -> None:
    counts = [
        (await whole(playing(), COMPLETIONS, prompt=prompt))["usage"] for prompt in ("def f", "x", ["def f", "x"])
    ]
    assert [usage["prompt_tokens"] for usage in counts] == [2, 1, 3]


async def test_a_prompt_of_token_ids_is_its_text() -> None:
    provider = playing()
    ids = (await whole(provider, "/tokenize", prompt="def f"))["tokens"]
    plain = await whole(provider, COMPLETIONS, prompt="def f")
    for prompt in (ids, [ids]):
        assert (await whole(provider, COMPLETIONS, prompt=prompt))["choices"] == plain["choices"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/detokenize", {}),
        ("/detokenize", {"tokens": [0]}),
        ("/detokenize", {"tokens": [-1]}),
        ("/detokenize", {"tokens": [2**62]}),
        ("/detokenize", {"tokens": [True]}),
        ("/tokenize", {}),
        (COMPLETIONS, {}),
        (COMPLETIONS, {"prompt": 3}),
        (COMPLETIONS, {"prompt": []}),
        (COMPLETIONS, {"prompt": ["a", 3]}),
        (EMBEDDINGS, {"input": {}}),
        (EMBEDDINGS, {"input": "a", "dimensions": 0}),
        (EMBEDDINGS, {"input": "a", "dimensions": "8"}),
        (EMBEDDINGS, {"input": "word " * 9000}),
    ],
)
async def test_what_no_route_can_read_is_refused(path: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        await ask(playing(), path, **fields)
    assert refused.value.status == 400
    assert refused.value.details["type"] == "invalid_request_error"


async def test_embeddings_are_unit_vectors_that_the_text_decides() -> None:
    said = await whole(playing(), EMBEDDINGS, input=["lock", "lock", "key"])
    lock, again, key = (row["embedding"] for row in said["data"])
    assert lock == again
    assert abs(sum(a * b for a, b in zip(lock, key, strict=True))) < 0.9
    assert len(lock) == 16
    assert math.hypot(*lock) == pytest.approx(1, abs=1e-12)
    assert said["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_embeddings_come_in_the_length_and_the_format_asked_for() -> None:
    fields = {"input": "lock", "dimensions": 8}
    plain = (await whole(playing(), EMBEDDINGS, **fields))["data"][0]["embedding"]
    packed = (await whole(playing(), EMBEDDINGS, **fields, encoding_format="base64"))["data"][0]["embedding"]
    assert struct.unpack("<8f", base64.b64decode(packed)) == pytest.approx(plain, rel=1e-6)  # float32


async def test_it_lists_its_models_and_tells_its_version() -> None:
    provider = playing(models=["a", "b"], max_model_len=100)
    assert await provider.models() == tuple(
        {"id": name, "object": "model", "created": 0, "owned_by": "scripted", "max_model_len": 100} for name in "ab"
    )
    assert orjson.loads(await provider.fetch("/version"))["version"].startswith("scripted-")
    assert orjson.loads(await provider.fetch("/version"))["version"] in provider.address
    with pytest.raises(NotFound):
        await provider.fetch("/metrics")


@pytest.mark.parametrize(
    "act",
    [
        lambda provider: provider.models(),
        lambda provider: provider.fetch("/version"),
        lambda provider: ask(provider),
        lambda provider: ask(provider, EMBEDDINGS, input="a"),
    ],
)
async def test_one_rule_can_fail_every_route(act: Callable[[Provider], Awaitable[object]]) -> None:
    with pytest.raises(AttemptFailed):
        await act(playing({"path": "*", "status": 503}))


async def test_a_rule_for_texts_leaves_other_routes_alone() -> None:
    provider = playing({"status": 500})
    assert await provider.models()
    assert await whole(provider, EMBEDDINGS, input="a")


async def test_a_rule_for_the_version_says_it() -> None:
    assert (
        await playing({"path": "/version", "body": {"version": "0.32.0"}}).fetch("/version") == b'{"version":"0.32.0"}'
    )


async def test_a_server_may_have_no_list_of_models_or_no_version() -> None:
    provider = playing({"path": "*", "status": 404})
    assert await provider.models() == ()
    with pytest.raises(NotFound):
        await provider.fetch("/version")
    with pytest.raises(Upstream):
        await playing({"path": "*", "status": 400}).models()


async def test_a_list_of_models_that_hangs_is_a_failed_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_service.providers.scripted.provider.PROBE_TIMEOUT_S", 0.05)
    with pytest.raises(AttemptFailed):
        await playing({"path": "/v1/models", "silent_after": 0}).models()


async def test_what_needs_no_model_is_there_at_once() -> None:
    provider = playing(first_token_s=60)
    await provider.models()
    await ask(provider, "/tokenize", prompt="a", within_s=20)
    with pytest.raises(DeadlineExceeded):
        await ask(provider, within_s=0.1)
