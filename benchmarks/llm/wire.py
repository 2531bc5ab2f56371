"""What goes over the wire: the request that every server gets, the fake model's answer, and whether it arrived whole.

Pure. The answer is of the size of a real one: 50 tokens, each an event of 260 bytes as OpenAI and vLLM write them.
"""

import re
from collections.abc import Sequence
from typing import Any

import orjson

MODEL = "bench-model"
TOKENS = 50

# Every server is asked with the same one, and each checks it in its own way; the bare one does not.
KEY = "sk-bench-4f1d0b6c9a7e42538d16a0c3"

# A question with two chunks of code, about 500 tokens: what a RAG application sends.
_CODE = "def take(self, name: str, timeout_s: float) -> Lock:\n    return self._locks.acquire(name, timeout_s)\n\n"
_MESSAGES = [
    {"role": "system", "content": "Answer from the code below and cite it as [1], [2]."},
    {"role": "user", "content": f"[1] src/lock.py\n{_CODE * 8}[2] src/store.py\n{_CODE * 8}Where is the lock taken?"},
]

# A server that writes the events anew may put a space after the colon.
_CONTENT = re.compile(rb'"content":\s?"([^"]*)"')


class WrongAnswer(Exception):
    """A server did not answer 200, or not with what the upstream said; the text says what came."""


def token(number: int) -> str:
    """The number-th token: each is another, so that a lost or doubled one shows."""
    return f" word{number:02d}"


def text(tokens: int = TOKENS) -> str:
    """The whole answer."""
    return "".join(map(token, range(tokens)))


def request(port: int, *, is_stream: bool) -> bytes:
    """An HTTP request for an answer, head and body."""
    fields: dict[str, Any] = {"model": MODEL, "messages": _MESSAGES, "temperature": 0.2, "max_tokens": 256}
    body = orjson.dumps({**fields, "stream": True} if is_stream else fields)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\naccept: */*\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def plain_answer() -> bytes:
    """A whole answer as OpenAI's servers give it."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text(), "refusal": None, "annotations": []},
        "logprobs": None,
        "finish_reason": "stop",
    }
    return orjson.dumps({**_head("chat.completion"), "choices": [choice], "usage": _USAGE})


def events(*, with_usage: bool) -> list[bytes]:
    """A stream as the writes that it comes in: one of a token each, and the end of it. with_usage: the client asks."""
    writes = []
    for number in range(TOKENS):
        delta = {"role": "assistant", "content": token(number)} if number == 0 else {"content": token(number)}
        writes.append(_event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]))
    last = _event([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}])
    usage = _event([], usage=_USAGE) if with_usage else b""
    return [*writes, last + usage + b"data: [DONE]\n\n"]


def check(status: int, body: bytes, *, is_stream: bool) -> None:
    """Hold an answer against what the upstream said. Fails with WrongAnswer."""
    if status != 200:
        raise WrongAnswer(f"{status}: {body[:300].decode(errors='replace')}")
    said = b"".join(_CONTENT.findall(body)).decode(errors="replace")
    if said != text():
        raise WrongAnswer(f"{len(said)} characters in place of {len(text())}; it ends {body[-200:]!r}")
    if is_stream and not body.rstrip().endswith(b"data: [DONE]"):
        raise WrongAnswer(f"no [DONE] at the end: {body[-200:]!r}")


_USAGE = {
    "prompt_tokens": 512,
    "completion_tokens": TOKENS,
    "total_tokens": 512 + TOKENS,
    "prompt_tokens_details": {"cached_tokens": 384, "audio_tokens": 0},
}


def _head(kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-BxQ2m7T1kZs9YwVfR4uLhD0cNa8Ej",
        "object": kind,
        "created": 1760000000,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_3f58d112f7",
    }


def _event(choices: Sequence[dict[str, Any]], **more: Any) -> bytes:
    return b"data: " + orjson.dumps({**_head("chat.completion.chunk"), "choices": choices, **more}) + b"\n\n"
