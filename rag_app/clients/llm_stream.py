"""Server-sent events of a chat completion, from bytes to plain dicts.

openai's client makes a pydantic object of each token, by way of a decoder of its own: of 0.5 CPU-ms that a token took
here, 0.15 went into that.
"""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import openai
import orjson

_DONE = b"[DONE]"


async def chunks(response: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
    """Each event's JSON object, up to [DONE] or the end of the response, which is closed in any case.

    Fails with openai.APIError where an event says so, ValueError where one is not a JSON object, and as httpx does.
    """
    rest, data = b"", []
    try:
        async for part in response.aiter_bytes():
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                line = line.rstrip(b"\r")
                if line.startswith(b"data:"):
                    data.append(line[5:].lstrip(b" "))
                elif not line and data:
                    whole, data = b"\n".join(data), []
                    if whole.startswith(_DONE):
                        return
                    yield _object(whole, response)
        # The last event of a server that ends without a blank line.
        if rest.startswith(b"data:"):
            data.append(rest[5:].strip())
        if data and not data[0].startswith(_DONE):
            yield _object(b"\n".join(data), response)
    finally:
        await response.aclose()


def delta_of(chunk: dict[str, Any]) -> str:
    """The text that a chunk adds; "" where it adds none. Fails with LookupError, TypeError or AttributeError."""
    choices = chunk["choices"]
    return (choices[0]["delta"].get("content") or "") if choices else ""


def counts_of(chunk: dict[str, Any]) -> dict[str, int]:
    """The model's own counts of tokens, where a chunk has them."""
    usage = chunk.get("usage")
    if not isinstance(usage, dict):
        return {}
    return {name: usage.get(name, 0) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}


def _object(data: bytes, response: httpx.Response) -> dict[str, Any]:
    value = orjson.loads(data)
    if not isinstance(value, dict):
        raise ValueError("an event of the stream is no JSON object")
    if error := value.get("error"):
        told = error.get("message") if isinstance(error, dict) else None
        message = told if isinstance(told, str) and told else "An error occurred during streaming"
        raise openai.APIError(message, response.request, body=error)
    return value
