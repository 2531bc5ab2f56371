"""A text-embeddings-inference server small enough to read, over real HTTP: what it is asked, it remembers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

DIM = 8


def toy_vector(text: str) -> list[float]:
    """(DIM,) of length 1: letters counted by their number modulo DIM, so that similar texts are near."""
    counts = [1e-3] * DIM
    for char in text.lower():
        counts[ord(char) % DIM] += 1
    length = math.sqrt(sum(count * count for count in counts))
    return [count / length for count in counts]


@dataclass
class FakeTei:
    """Its window is `max_input_length` words and two special tokens. `failures`: (status, headers) answered first."""

    max_input_length: int = 16
    max_client_batch_size: int = 4
    extra_info: dict[str, Any] = field(default_factory=dict)
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    short_answers: bool = False
    vector: Callable[[str], list[float]] = toy_vector
    relevance: Callable[[str, str], float] = lambda query, text: float(query in text)

    def app(self) -> FastAPI:
        """The server; run it with tests.support.live.live."""
        app = FastAPI()

        @app.get("/info")
        async def info() -> dict[str, Any]:
            self.paths.append("/info")
            told = {"model_id": "toy/letters", "model_sha": "abc", "model_dtype": "float32"}
            limits = {
                "max_input_length": self.max_input_length,
                "max_client_batch_size": self.max_client_batch_size,
            }
            return {**told, **limits, **self.extra_info}

        @app.post("/embed")
        async def embed(request: Request) -> Response:
            return await self._answer(request, self.vector)

        @app.post("/rerank")
        async def rerank(request: Request) -> Response:
            body = orjson.loads(await request.body())
            self.paths.append("/rerank")
            self.headers.append(dict(request.headers))
            self.bodies.append(body)
            if self.failures:
                status, headers = self.failures.pop(0)
                return JSONResponse({"error": "no", "error_type": "Test"}, status, headers)
            scores = [(index, self.relevance(body["query"], text)) for index, text in enumerate(body["texts"])]
            ranks = sorted(scores, key=lambda pair: -pair[1])
            return JSONResponse([{"index": index, "score": score} for index, score in ranks])

        @app.post("/tokenize")
        async def tokenize(request: Request) -> Response:
            return await self._answer(request, lambda text: [{"id": i} for i, _ in enumerate(text.split())])

        return app

    async def _answer(self, request: Request, of: Any) -> Response:
        body = orjson.loads(await request.body())
        self.bodies.append(body)
        self.paths.append(request.url.path)
        self.headers.append(dict(request.headers))
        if self.failures:
            status, headers = self.failures.pop(0)
            return JSONResponse({"error": "scripted", "error_type": "Overloaded"}, status, headers)
        texts = body["inputs"]
        if len(texts) > self.max_client_batch_size:
            return JSONResponse({"error": "batch too large", "error_type": "Validation"}, 422)
        if not body.get("truncate", True) and any(len(text.split()) + 2 > self.max_input_length for text in texts):
            return JSONResponse({"error": "inputs must have less than 16 tokens", "error_type": "Validation"}, 413)
        self.batches.append(texts)
        answers = [of(text) for text in texts]
        return JSONResponse(answers[:-1] if self.short_answers else answers)
