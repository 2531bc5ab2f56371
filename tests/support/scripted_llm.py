"""An OpenAI-compatible server that says what a test tells it to, over real HTTP, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response, StreamingResponse


@dataclass
class ScriptedLlm:
    """`replies` are said in turn, the last one for ever; `failures` are (status, body) answered before any reply."""

    model: str = "scripted-model"
    replies: list[str] = field(default_factory=lambda: ["Hello."])
    failures: list[tuple[int, Any]] = field(default_factory=list)
    delay_s: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def will_say(self, *replies: str) -> None:
        """Set what the next answers are."""
        self.replies = list(replies)

    def app(self) -> FastAPI:
        """The server; run it with tests.support.live.live."""
        app = FastAPI()

        @app.get("/v1/models")
        async def models() -> dict[str, Any]:
            return {"object": "list", "data": [{"id": self.model, "object": "model", "created": 0, "owned_by": "test"}]}

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            body = orjson.loads(await request.body())
            self.requests.append(body)
            self.headers.append(dict(request.headers))
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.failures:
                status, failure = self.failures.pop(0)
                return JSONResponse(failure, status)
            text = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
            if body.get("stream"):
                return StreamingResponse(self._events(text, body), media_type="text/event-stream")
            return JSONResponse(self._completion(text))

        return app

    def _completion(self, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        return {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": len(text.split()), "total_tokens": 10},
        }

    async def _events(self, text: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
        base = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 0, "model": self.model}
        # Three characters a piece, so that a marker such as [12] arrives torn in two.
        pieces = [text[i : i + 3] for i in range(0, len(text), 3)]
        for piece in pieces:
            choice = {"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}
            yield b"data: " + orjson.dumps({**base, "choices": [choice]}) + b"\n\n"
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        yield b"data: " + orjson.dumps({**base, "choices": [end]}) + b"\n\n"
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 10, "completion_tokens": len(pieces), "total_tokens": 10 + len(pieces)}
            yield b"data: " + orjson.dumps({**base, "choices": [], "usage": usage}) + b"\n\n"
        yield b"data: [DONE]\n\n"
