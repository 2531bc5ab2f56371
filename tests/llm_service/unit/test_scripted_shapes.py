"""The scripted provider's answers have OpenAI's shape, whole and in chunks."""

from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llm_service.providers.scripted.provider import scripted_provider
from llm_service.providers.scripted.script import CHAT, COMPLETIONS, EMBEDDINGS, Script
from tests.support.providers import USER, ask, events, playing, rest_of, text_in, whole


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
