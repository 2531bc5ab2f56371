"""Questions to a provider, through the protocol alone, and what comes back."""

import asyncio
from typing import Any

import orjson

from llm_service.providers.base import Answer, Call, Provider
from llm_service.providers.scripted.provider import scripted_provider
from llm_service.providers.scripted.script import CHAT, Script

USER = [{"role": "user", "content": "Where is the lock taken?"}]


def playing(*rules: dict[str, Any], **settings: Any) -> Provider:
    return scripted_provider(Script.model_validate({"rules": list(rules), **settings}))


def call_of(path: str, body: dict[str, Any] | bytes, within_s: float = 30.0) -> Call:
    deadline = asyncio.get_running_loop().time() + within_s
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    is_stream = not isinstance(body, bytes) and body.get("stream") is True
    return Call(path, content, is_stream, first_by=deadline, expires_at=deadline)


async def ask(provider: Provider, path: str = CHAT, within_s: float = 30.0, **fields: Any) -> Answer:
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
