"""A RAG server that answers at once, by the rules of a test: it stalls, fails or degrades when told to."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse


@dataclass
class FakeRag:
    """`stall`: (begin, end) in s after the first request, within which nothing is answered. fail_every: 0 for never."""

    stall: tuple[float, float] = (0.0, 0.0)
    fail_every: int = 0
    degraded: tuple[str, ...] = ()
    breaks_off: bool = False
    key: str = ""
    chunks: int = 30_000
    questions: list[str] = field(default_factory=list)
    first_at: float = 0.0

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/search")
        async def search(request: Request) -> Response:
            body = await request.json()
            if refusal := await self._met(request, body["query"]):
                return refusal
            return JSONResponse({"hits": [{"path": "a.py"}], "degraded": list(self.degraded), "took_ms": {}})

        @app.post("/v1/ask")
        @app.post("/v1/generate")
        async def ask(request: Request) -> Response:
            body = await request.json()
            if refusal := await self._met(request, body.get("question") or body["instruction"]):
                return refusal
            return StreamingResponse(self._events(), media_type="text/event-stream")

        @app.get("/v1/repositories")
        async def repositories() -> Response:
            return JSONResponse(
                {"repositories": [{"id": "1", "name": "tiny-1", "state": "ready", "chunks": self.chunks}]}
            )

        return app

    async def _met(self, request: Request, question: str) -> Response | None:
        self.first_at = self.first_at or time.monotonic()
        self.questions.append(question)
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": {"code": "unauthorized"}}, 401)
        if self.fail_every and len(self.questions) % self.fail_every == 0:
            return JSONResponse({"error": {"code": "unavailable"}}, 503)
        begin, end = self.stall
        since = time.monotonic() - self.first_at
        if begin <= since < end:
            await asyncio.sleep(end - since)
        return None

    async def _events(self) -> AsyncIterator[bytes]:
        yield _event("search_results", {"hits": []})
        for token in ("In ", "a.py ", "[1]."):
            yield _event("message", {"delta": token})
        if self.breaks_off:
            return
        yield _event("final_answer", {"answer": "In a.py [1].", "degraded": list(self.degraded)})
        yield _event("done", {})


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
