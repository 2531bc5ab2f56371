"""OpenAI's JSON, whole and in chunks, and vLLM's where OpenAI has no such route. Pure."""

import base64
import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import orjson

from llm_service.providers.scripted.answers import Said
from llm_service.providers.scripted.requests import Asked
from llm_service.providers.scripted.script import CHAT

DONE = b"data: [DONE]\n\n"

# A stream is made of ticks: everything that comes with one token of every choice.
Tick = list[bytes]


class Shape:
    """Shapes what is said to one request."""

    def __init__(self, asked: Asked, digest: str, fingerprint: str) -> None:
        """digest: hex digits of the request, from which the answer's id comes; `created` is always 0."""
        self._asked = asked
        self._is_chat = asked.path == CHAT
        self._head = {
            "id": f"{'chatcmpl' if self._is_chat else 'cmpl'}-{digest}",
            "object": "chat.completion" if self._is_chat else "text_completion",
            "created": 0,
            "model": asked.model,
            "system_fingerprint": fingerprint,
        }
        chunk = {**self._head, "object": "chat.completion.chunk"} if self._is_chat else self._head
        self._chunk_head = b"data: " + orjson.dumps(chunk)[:-1] + b',"choices":['
        # As OpenAI does: a null in every chunk, where the last one will hold the counts.
        self._chunk_end = b'],"usage":null}\n\n' if asked.is_usage_wanted else b"]}\n\n"

    def whole(self, said: Sequence[Said]) -> bytes:
        """The body of a whole answer."""
        choice = _chat_choice if self._is_chat else _text_choice
        choices = [choice(i, one) for i, one in enumerate(said)]
        return orjson.dumps({**self._head, "choices": choices, "usage": _usage(self._asked, said)})

    def roles(self, said: Sequence[Said]) -> Tick:
        """The events before the first token: none in /v1/completions."""
        if not self._is_chat:
            return []
        return [self._event(i, b'"delta":{"role":"assistant","content":""}') for i in range(len(said))]

    def tokens(self, said: Sequence[Said]) -> Iterator[Tick]:
        """A tick a token: a piece of every choice that is not done yet. Raw fields are one tick."""
        if raw := [self._event(i, _raw_delta(one.fields)) for i, one in enumerate(said) if one.fields is not None]:
            yield raw
        before, after = (b'"delta":{"content":', b"}") if self._is_chat else (b'"text":', b"")
        for pieces in zip_longest(*(one.pieces for one in said)):
            spoken = [(i, piece) for i, piece in enumerate(pieces) if piece is not None]
            yield [self._event(i, before + orjson.dumps(piece) + after) for i, piece in spoken]

    def ending(self, said: Sequence[Said]) -> Tick:
        """Why each choice ended, the usage where it was asked for, and [DONE]."""
        nothing = b'"delta":{}' if self._is_chat else b'"text":""'
        events = [self._event(i, nothing, orjson.dumps(one.finish_reason)) for i, one in enumerate(said)]
        if self._asked.is_usage_wanted:
            events.append(self._chunk_head + b'],"usage":' + orjson.dumps(_usage(self._asked, said)) + b"}\n\n")
        return [*events, DONE]

    def _event(self, index: int, content: bytes, finish_reason: bytes = b"null") -> bytes:
        # Joined and not built: a stream's cost is this line.
        return b'%b{"index":%d,%b,"logprobs":null,"finish_reason":%b}%b' % (
            self._chunk_head,
            index,
            content,
            finish_reason,
            self._chunk_end,
        )


def _chat_choice(index: int, said: Said) -> dict[str, Any]:
    content = "".join(said.pieces) if said.fields is None else None
    message = {"role": "assistant", "content": content, "refusal": None, **(said.fields or {})}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": said.finish_reason}


def _text_choice(index: int, said: Said) -> dict[str, Any]:
    return {"index": index, "text": "".join(said.pieces), "logprobs": None, "finish_reason": said.finish_reason}


def _raw_delta(fields: dict[str, Any]) -> bytes:
    """A delta in which each tool call has its `index`, as streams have and whole answers have not."""
    calls = fields.get("tool_calls")
    if isinstance(calls, list):
        numbered = [{"index": i, **call} if isinstance(call, dict) else call for i, call in enumerate(calls)]
        fields = {**fields, "tool_calls": numbered}
    return b'"delta":' + orjson.dumps(fields)


def _usage(asked: Asked, said: Sequence[Said]) -> dict[str, Any]:
    completion_tokens = sum(one.token_count for one in said)
    return {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": asked.prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def models_list(names: Sequence[str], max_model_len: int) -> tuple[dict[str, Any], ...]:
    """OpenAI's models, with vLLM's `max_model_len`."""
    return tuple(
        {"id": name, "object": "model", "created": 0, "owned_by": "scripted", "max_model_len": max_model_len}
        for name in names
    )


def unit_vector(text: str, dimensions: int) -> list[float]:
    """A row of length 1, (dimensions,), that the text alone decides: others as good as random."""
    raw = hashlib.shake_128(text.encode()).digest(dimensions * 2)
    # Odd numbers: none is 0, so that there is always a length to divide by.
    values = [2 * number + 1 for number in struct.unpack(f"<{dimensions}h", raw)]
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


def embeddings(model: str, vectors: Sequence[list[float]], prompt_tokens: int, *, is_base64: bool) -> bytes:
    """OpenAI's list of embeddings. is_base64: each is little-endian float32 in base64, which its client asks for."""
    data = [
        {"object": "embedding", "index": i, "embedding": _packed(vector) if is_base64 else vector}
        for i, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage})


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
