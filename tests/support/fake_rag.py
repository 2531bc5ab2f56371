"""A rag_app that says what a test tells it to, over real HTTP: canned hits and answers in ARCHITECTURE.md's shapes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

# What a hostile repository would put into its files.
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

CODE = f'''def find_template(name: str) -> Path | None:
    """Return where the template lies. {HOSTILE}"""
    for folder in template_folders():
        if (folder / name).exists():
            return folder / name
    return None'''


def hit(path: str = "src/app.py", start: int = 10, content: str = CODE, **changes: Any) -> dict[str, Any]:
    """One hit, with lines that fit its content."""
    return {
        "id": f"{path}:{start}", "repository": "r1", "ref": "main", "commit": "0123456789abcdef", "path": path,
        "start_line": start, "end_line": start + content.count("\n"), "language": "python",
        "symbol": "find_template", "content": content, "score": 0.871, "scores": {"dense": 0.8, "sparse": 0.9},
    } | changes  # fmt: skip


def citation(index: int = 1, path: str = "src/app.py", start: int = 12, end: int = 14) -> dict[str, Any]:
    """One citation."""
    return {
        "index": index, "repository": "r1", "commit": "0123456789abcdef", "path": path, "start_line": start,
        "end_line": end, "sha256": "0" * 64,
    }  # fmt: skip


def repository(id_: str = "r1", name: str = "flask", **changes: Any) -> dict[str, Any]:
    """One indexed repository."""
    return {
        "id": id_, "name": name, "source": {"type": "path", "path": f"/src/{name}"}, "ref": "main",
        "commit": "0123456789abcdef", "state": "ready", "files": 24, "chunks": 310, "skipped": {},
        "indexed_at": "2026-01-01T00:00:00Z",
    } | changes  # fmt: skip


@dataclass
class FakeRag:
    """What the server answers; `requests` holds (method, path, body) of what it was asked."""

    repositories: list[dict[str, Any]] = field(default_factory=lambda: [repository()])
    hits: list[dict[str, Any]] = field(default_factory=lambda: [hit(), hit("src/loader.py", 40, symbol="Loader.get")])
    pieces: list[str] = field(default_factory=lambda: ["Templates are found by ", "`find_template` [1]."])
    citations: list[dict[str, Any]] = field(default_factory=lambda: [citation()])
    query: dict[str, Any] | None = None  # how it was read, where `explain` asks
    final: str | None = None
    degraded: list[str] = field(default_factory=list)
    abstained: bool = False
    failure: tuple[int, dict[str, Any]] | None = None
    stream_error: dict[str, Any] | None = None
    breaks_off: bool = False
    delay_s: float = 0.0
    may_go_on: threading.Event | None = None  # where set, an answer waits for it after its first piece
    job_states: list[str] = field(default_factory=lambda: ["running", "succeeded"])
    on_job: Callable[[], None] = lambda: None  # what happens when a job is asked about
    job_error: dict[str, Any] | None = None
    parses: bool = True
    is_ready: bool = True
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    request_id: str = "4f1c9d"

    def app(self) -> FastAPI:
        """The server; run it with tests.support.live.live."""
        app = FastAPI()

        @app.middleware("http")
        async def name_request(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
            response = await call_next(request)
            if request.url.path in ("/v1/ask", "/v1/search", "/v1/generate"):
                response.headers["x-request-id"] = self.request_id
            return response

        app.get("/readyz")(self._readyz)
        for method, path, answer in (
            ("GET", "/v1/repositories", lambda path, body: {"repositories": self.repositories}),
            ("POST", "/v1/repositories", self._register),
            ("GET", "/v1/repositories/{id}", lambda path, body: self.repositories[-1]),
            ("DELETE", "/v1/repositories/{id}", lambda path, body: None),
            ("POST", "/v1/repositories/{id}/sync", lambda path, body: self._accepted()),
            ("GET", "/v1/jobs/{id}", lambda path, body: self._job()),
            ("POST", "/v1/search", self._search),
            ("POST", "/v1/generate", self._generate),
            ("GET", "/v1/source", self._source),
        ):
            app.add_api_route(path, self._route(answer), methods=[method])
        app.post("/v1/ask")(self._ask)
        return app

    def asked(self, path: str) -> Any:
        """The body of the last request to `path`."""
        return [body for _, asked, body in self.requests if asked == path][-1]

    def _route(self, answer: Any) -> Any:
        async def route(request: Request) -> Response:
            body = await self._note(request)
            if self.failure:
                return JSONResponse(self.failure[1], self.failure[0])
            found = answer(request.url.path, body)
            return Response(status_code=204) if found is None else JSONResponse(found)

        return route

    async def _note(self, request: Request) -> Any:
        raw = await request.body()
        body = orjson.loads(raw) if raw else dict(request.query_params)
        self.requests.append((request.method, request.url.path, body))
        return body

    async def _readyz(self) -> Response:
        checks = [{"name": "qdrant", "ok": self.is_ready, "detail": "127.0.0.1:6333", "required": True}]
        status = "ready" if self.is_ready else "not_ready"
        return JSONResponse({"status": status, "checks": checks}, 200 if self.is_ready else 503)

    def _register(self, path: str, body: Any) -> dict[str, Any]:
        self.repositories.append(repository("r9", body.get("name") or "new", source=body["source"]))
        return self._accepted()

    def _accepted(self) -> dict[str, Any]:
        return {"repository": self.repositories[-1], "job": {"id": "j1", "state": "queued", "progress": {}}}

    def _job(self) -> dict[str, Any]:
        self.on_job()
        state = self.job_states.pop(0) if len(self.job_states) > 1 else self.job_states[0]
        progress = {
            "files_done": 12, "files_total": 24, "chunks_done": 150, "chunks_embedded": 100, "chunks_reused": 50,
            "elapsed_ms": 3000.0,
        }  # fmt: skip
        return {"id": "j1", "repository": "r9", "state": state, "progress": progress, "error": self.job_error}

    def _search(self, path: str, body: Any) -> dict[str, Any]:
        query = {"query": self.query} if self.query and body.get("explain") else {}
        hits = self.hits[: body.get("limit", 10)]
        return {"hits": hits, "degraded": self.degraded, "took_ms": {"total": 3.0}, **query}

    def _generate(self, path: str, body: Any) -> dict[str, Any]:
        return {
            "code": "def made() -> int:\n    return 1\n", "language": "python", "citations": self.citations,
            "checks": {"parses": self.parses, "repaired": False}, "hits": self.hits, "degraded": [], "usage": {},
            "took_ms": {"search": 3.0, "answer": 2.0, "total": 5.0},
        }  # fmt: skip

    def _source(self, path: str, body: Any) -> dict[str, Any]:
        start, end = int(body["start_line"]), int(body["end_line"])
        content = "\n".join(f"line_{line} = {line}" for line in range(start, end + 1))
        return {"path": body["path"], "start_line": start, "end_line": end, "language": "python", "content": content}

    def _answer(self) -> dict[str, Any]:
        return {
            "answer": self.final if self.final is not None else "".join(self.pieces), "citations": self.citations,
            "citations_removed": 0, "hits": self.hits, "mode": "extractive" if "llm" in self.degraded else "generative",
            "abstained": self.abstained, "degraded": self.degraded, "usage": {},
            "took_ms": {"search": 3.0, "answer": 2.0, "total": 5.0},
        }  # fmt: skip

    async def _ask(self, request: Request) -> Response:
        body = await self._note(request)
        if self.failure:
            return JSONResponse(self.failure[1], self.failure[0])
        if not body.get("stream"):
            return JSONResponse(self._answer())
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[bytes]:
        yield _event("search_results", {"hits": self.hits, "degraded": self.degraded, "took_ms": {"total": 3.0}})
        for piece in self.pieces:
            await asyncio.sleep(self.delay_s)
            yield _event("message", {"delta": piece})
            if self.may_go_on:
                await asyncio.to_thread(self.may_go_on.wait, 30)
        if self.stream_error:
            yield _event("error", self.stream_error)
        elif not self.breaks_off:
            for cited in self.citations:
                yield _event("citation", cited)
            yield _event("final_answer", self._answer())
        yield _event("done", {})


def _event(name: str, data: Any) -> bytes:
    return b": keep-alive\n\nevent: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def failure(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    """An error in our envelope."""
    return status, {"error": {"code": code, "message": message, "request_id": "t"}}
