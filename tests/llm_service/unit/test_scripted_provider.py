"""The scripted provider, called through the protocol: what it says, in whose shape, at what pace, and how it fails."""

import asyncio
import base64
import math
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llm_service.core.errors import Refused
from llm_service.providers.base import Answer, AttemptFailed, Call, Fault, Provider
from llm_service.providers.script import CHAT, COMPLETIONS, EMBEDDINGS, Script
from llm_service.providers.scripted import scripted_provider
from service_kit.errors import DeadlineExceeded, NotFound, Unavailable, Upstream

USER = [{"role": "user", "content": "Where is the lock taken?"}]


def playing(*rules: dict[str, Any], **settings: Any) -> Provider:
    return scripted_provider(Script.model_validate({"rules": list(rules), **settings}))


def call_of(path: str, body: dict[str, Any] | bytes, within_s: float = 5.0) -> Call:
    deadline = asyncio.get_running_loop().time() + within_s
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    is_stream = not isinstance(body, bytes) and body.get("stream") is True
    return Call(path, content, is_stream, first_by=deadline, expires_at=deadline)


async def ask(provider: Provider, path: str = CHAT, within_s: float = 5.0, **fields: Any) -> Answer:
    body = {"model": "scripted", **({"messages": USER} if path == CHAT else {}), **fields}
    return await provider.send(call_of(path, body, within_s))


async def whole(provider: Provider, path: str = CHAT, **fields: Any) -> Any:
    answer = await ask(provider, path, **fields)
    assert not answer.is_stream
    return orjson.loads(answer.first)


async def rest_of(answer: Answer) -> list[bytes]:
    reads = [answer.first]
    while chunk := await answer.more():
        reads.append(chunk)
    return reads


async def events(provider: Provider, path: str = CHAT, **fields: Any) -> list[Any]:
    answer = await ask(provider, path, stream=True, **fields)
    assert answer.is_stream
    told = b"".join(await rest_of(answer)).decode()
    assert told.endswith("data: [DONE]\n\n")
    return [orjson.loads(event.removeprefix("data: ")) for event in told.split("\n\n")[:-2]]


def text_in(chunks: list[Any], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content", "") if "delta" in choice else choice["text"] for choice in choices)


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


async def test_a_raw_body_answers_a_stream_whole() -> None:
    answer = await ask(playing({"body": {"answer": 42}}), stream=True)
    assert (answer.is_stream, answer.first, await answer.more()) == (False, b'{"answer":42}', b"")


async def test_a_finish_reason_is_the_scripts() -> None:
    provider = playing({"say": "a", "finish_reason": "content_filter"})
    assert (await whole(provider))["choices"][0]["finish_reason"] == "content_filter"


# in OpenAI's shape


async def test_answers_are_openais_types_and_say_what_they_are() -> None:
    script = Script()
    provider = scripted_provider(script)
    said = await whole(provider)
    ChatCompletion.model_validate(said, strict=True)
    Completion.model_validate(await whole(provider, COMPLETIONS, prompt="a"), strict=True)
    CreateEmbeddingResponse.model_validate(await whole(provider, EMBEDDINGS, input="a"), strict=True)
    for chunk in await events(provider, stream_options={"include_usage": True}):
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert (chunk["id"][:9], chunk["object"]) == ("chatcmpl-", "chat.completion.chunk")
        assert (chunk["created"], chunk["model"], chunk["system_fingerprint"]) == (0, "scripted", script.fingerprint)
    assert (said["created"], said["model"], said["system_fingerprint"]) == (0, "scripted", script.fingerprint)


async def test_a_stream_begins_with_the_role_and_ends_with_the_reason() -> None:
    chunks = await events(playing({"say": "a b"}))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "a"},
        {"content": " b"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert all("usage" not in chunk for chunk in chunks)


async def test_each_event_is_a_read_of_its_own() -> None:
    reads = await rest_of(await ask(playing({"say": "a b"}), stream=True))
    assert all(read.startswith(b"data: ") and read.count(b"\n\n") == 1 for read in reads)
    assert len(reads) == 5


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_usage_comes_last_where_it_is_asked_for_and_is_the_whole_answers(path: str) -> None:
    prompt = {} if path == CHAT else {"prompt": ["def ", "class "]}
    chunks = await events(playing(), path, **prompt, n=2, stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    usage = (await whole(playing(), path, **prompt, n=2))["usage"]
    assert chunks[-1]["usage"] == usage
    assert usage["completion_tokens"] == (48 if path == CHAT else 64)  # 2 choices of 24; 4 of 16, OpenAI's default
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_the_prompts_count_is_that_of_tokenize() -> None:
    provider = playing()
    counted = await whole(provider, "/tokenize", messages=USER)
    assert (await whole(provider))["usage"]["prompt_tokens"] == counted["count"] == len(counted["tokens"])


async def test_several_prompts_get_their_choices_in_order() -> None:
    said = await whole(playing(), COMPLETIONS, prompt=["a", "b"], n=2)
    alone = [await whole(playing(), COMPLETIONS, prompt=prompt, n=2) for prompt in ("a", "b")]
    assert [choice["index"] for choice in said["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in said["choices"]] == [c["text"] for one in alone for c in one["choices"]]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_ends_at_the_tokens_that_were_asked_for(field: str) -> None:
    said = await whole(playing({"say": "one two three"}), **{field: 2})
    assert said["choices"][0]["message"]["content"] == "one two"
    assert said["choices"][0]["finish_reason"] == "length"
    assert said["usage"]["completion_tokens"] == 2


async def test_an_answer_that_just_fits_is_not_cut() -> None:
    assert (await whole(playing({"say": "one two"}), max_tokens=2))["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stop", ["wo", ["three", "wo", ""]])
async def test_an_answer_stops_before_the_first_stop_sequence(stop: Any) -> None:
    provider = playing({"say": "one two three"})
    choice = (await whole(provider, stop=stop))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one t", "stop")
    assert text_in(await events(provider, stop=stop)) == "one t"


async def test_tokens_may_be_cut_after_so_many_characters() -> None:
    chunks = await events(playing({"say": "See [12].", "token_chars": 3}), stream_options={"include_usage": True})
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks[1:4]] == ["See", " [1", "2]."]
    assert chunks[-1]["usage"]["completion_tokens"] == 3


# what it refuses


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


async def test_an_answer_ends_where_the_window_does() -> None:
    said = await whole(playing({"say_tokens": 1000}, max_model_len=100))
    assert said["choices"][0]["finish_reason"] == "length"
    assert said["usage"]["total_tokens"] == 100


async def test_a_wrong_request_does_not_wait_for_the_models_pace() -> None:
    with pytest.raises(Refused):
        await ask(playing(first_token_s=60), temperature="hot", within_s=0.2)


async def test_a_route_that_it_has_not_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        await ask(playing(), "/v1/images/generations")
    assert (refused.value.status, refused.value.details["code"]) == (404, "unknown_url")


# its pace


async def test_tokens_come_at_the_stated_pace() -> None:
    started = time.monotonic()
    answer = await ask(playing({"say": "a b c"}, first_token_s=0.1, between_tokens_s=0.05), stream=True)
    times = [time.monotonic() - started]
    while await answer.more():
        times.append(time.monotonic() - started)
    due = [0.1, 0.1, 0.15, 0.2, 0.2, 0.2]  # role, a, b, c, reason, [DONE]
    assert times == pytest.approx(due, abs=0.04)  # this machine's timers and its load
    assert all(came >= when - 0.002 for came, when in zip(times, due, strict=True))


async def test_a_whole_answer_takes_the_time_of_its_tokens() -> None:
    started = time.monotonic()
    await ask(playing({"say": "a b c", "first_token_s": 0.1, "between_tokens_s": 0.05}))
    assert 0.199 <= time.monotonic() - started < 0.3


async def test_a_reader_that_is_slow_does_not_slow_the_model() -> None:
    answer = await ask(playing({"say": "a b c", "between_tokens_s": 0.05}), stream=True)
    await asyncio.sleep(0.15)
    started = time.monotonic()
    assert len(await rest_of(answer)) == 6
    assert time.monotonic() - started < 0.04


async def test_a_stream_without_a_pace_lets_others_run() -> None:
    answer = await ask(playing({"say_tokens": 2000}), stream=True)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await rest_of(answer)
    task.cancel()
    assert turns > 50


# its failures


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("status", "fault", "failure", "told_status"),
    [
        (429, Fault.BUSY, Refused, 429),
        (500, Fault.DOWN, Upstream, 502),
        (503, Fault.DOWN, Unavailable, 503),
        (408, Fault.DOWN, Upstream, 502),
        (401, Fault.KEY, Upstream, 502),
    ],
)
async def test_a_status_of_the_backends_fault_is_a_failed_attempt(
    status: int, fault: Fault, failure: type, told_status: int, is_stream: bool
) -> None:
    provider = playing({"status": status, "error": {"error": {"message": "no", "code": "c"}}, "retry_after_s": 1.5})
    with pytest.raises(AttemptFailed) as failed:
        await ask(provider, stream=is_stream)
    assert (failed.value.fault, type(failed.value.failure), failed.value.failure.status) == (
        fault,
        failure,
        told_status,
    )
    assert failed.value.retry_after_s == (None if fault is Fault.KEY else 1.5)


async def test_any_other_4xx_is_a_refusal_in_the_scripts_words() -> None:
    error = {"error": {"message": "Too rude.", "type": "invalid_request_error", "param": "messages", "code": "rude"}}
    with pytest.raises(Refused, match=r"Too rude\.") as refused:
        await ask(playing({"status": 422, "error": error}))
    details = {"type": "invalid_request_error", "param": "messages", "code": "rude"}
    assert (refused.value.status, refused.value.details) == (422, details)


async def test_a_failure_may_take_its_time() -> None:
    started = time.monotonic()
    with pytest.raises(AttemptFailed):
        await ask(playing({"status": 500, "first_token_s": 0.1}))
    assert time.monotonic() - started >= 0.099


@pytest.mark.parametrize("rule", [{"silent_after": 0}, {"first_token_s": 60.0}, {"silent_after": 0, "status": 500}])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_server_that_hangs_is_a_deadline(rule: dict[str, Any], is_stream: bool) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await ask(playing(rule), stream=is_stream, within_s=0.1)
    assert 0.099 <= time.monotonic() - started < 0.3


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_break_before_the_first_byte_is_a_failed_attempt(is_stream: bool) -> None:
    with pytest.raises(AttemptFailed, match="broke off") as failed:
        await ask(playing({"breaks_off_after": 0}), stream=is_stream)
    assert failed.value.fault is Fault.DOWN


async def test_a_stream_breaks_off_after_so_many_tokens() -> None:
    answer = await ask(playing({"say": "a b c", "breaks_off_after": 2}), stream=True)
    reads = [await answer.more() for _ in range(2)]
    assert [orjson.loads(read[6:])["choices"][0]["delta"] for read in reads] == [{"content": "a"}, {"content": " b"}]
    for _ in range(2):  # it does not turn into a clean end
        with pytest.raises(Upstream):
            await answer.more()


async def test_a_stream_falls_silent_after_so_many_tokens() -> None:
    answer = await ask(playing({"say": "a b c", "silent_after": 1}), stream=True)
    assert b'"a"' in await answer.more()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer.more(), 0.1)


async def test_a_stream_may_end_as_if_it_were_whole() -> None:
    reads = await rest_of(await ask(playing({"say": "a b c", "cut_after": 1}), stream=True))
    assert len(reads) == 2
    assert b'finish_reason":null' in reads[-1]


async def test_an_ending_after_more_tokens_than_there_are_comes_after_the_last() -> None:
    answer = await ask(playing({"say": "a", "breaks_off_after": 9}), stream=True)
    assert b'"a"' in await answer.more()
    with pytest.raises(Upstream):
        await answer.more()


@pytest.mark.parametrize(
    ("rule", "failure"),
    [
        ({"breaks_off_after": 2}, AttemptFailed),
        ({"silent_after": 2}, DeadlineExceeded),
        ({"cut_after": 2}, Upstream),
        ({"body": "<html>"}, Upstream),
        ({"body": "[]"}, Upstream),
    ],
)
async def test_a_whole_answer_that_ends_badly_is_none(rule: dict[str, Any], failure: type[Exception]) -> None:
    with pytest.raises(failure):
        await ask(playing({"say": "a b c"} | rule if "body" not in rule else rule), within_s=0.1)


async def test_an_empty_completion_that_is_cut_has_no_first_byte() -> None:
    for ending in ("cut_after", "breaks_off_after"):
        with pytest.raises(AttemptFailed, match=r"before the first byte|broke off"):
            await ask(playing({"say": "", ending: 3}), COMPLETIONS, prompt="a", stream=True)
    with pytest.raises(DeadlineExceeded):
        await ask(playing({"say": "", "silent_after": 3}), COMPLETIONS, prompt="a", stream=True, within_s=0.1)


# letting go of an answer


async def _left(answer: Answer) -> None:
    waiting = asyncio.create_task(answer.more())
    await asyncio.sleep(0.02)
    answer.close()
    answer.close()
    with pytest.raises(Upstream, match="closed"):
        await asyncio.wait_for(waiting, 0.1)


@pytest.mark.parametrize("rule", [{"between_tokens_s": 60.0}, {"silent_after": 1}])
async def test_a_closed_answer_says_no_more_even_to_one_who_waits(rule: dict[str, Any]) -> None:
    answer = await ask(playing({"say": "a b", **rule}), stream=True)
    await answer.more()
    await _left(answer)
    with pytest.raises(Upstream, match="closed"):
        await answer.more()


async def test_a_wait_that_is_cancelled_loses_no_token() -> None:
    answer = await ask(playing({"say": "a b", "between_tokens_s": 0.1}), stream=True)
    await answer.more()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer.more(), 0.02)
    assert b'" b"' in await answer.more()


async def test_a_cancelled_question_leaves_no_task_behind() -> None:
    asking = asyncio.create_task(ask(playing({"silent_after": 0})))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert asyncio.all_tasks() == {asyncio.current_task()}


# its other routes


@pytest.mark.parametrize("text", ["", "def f(x):\n    return 'ä\x00日本🙂'", "\x01\x00", " " * 9, "a_b9 " * 50])
async def test_tokens_can_be_read_back(text: str) -> None:
    provider = playing()
    told = await whole(provider, "/tokenize", prompt=text)
    assert told["count"] == len(told["tokens"])
    assert told["max_model_len"] == 8192
    assert all(0 < number < 2**53 for number in told["tokens"])
    assert await whole(provider, "/detokenize", tokens=told["tokens"]) == {"prompt": text}


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
    monkeypatch.setattr("llm_service.providers.scripted.PROBE_TIMEOUT_S", 0.05)
    with pytest.raises(AttemptFailed):
        await playing({"path": "/v1/models", "silent_after": 0}).models()


async def test_what_needs_no_model_is_there_at_once() -> None:
    provider = playing(first_token_s=60)
    await provider.models()
    await ask(provider, "/tokenize", prompt="a", within_s=0.2)
    with pytest.raises(DeadlineExceeded):
        await ask(provider, within_s=0.1)
