"""A way to a service on which a test makes answers fail, in answers that quote the request, as servers like to do."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from starlette.types import Receive, Scope, Send

# What belongs to one connection, or is made anew for the body as it is sent on.
_NOT_PASSED_ON = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}


@dataclass
class QuotingProxy:
    """Passes requests on to `target`; while `status` is set it answers with that and all that it was sent.

    status 200 stands for an answer that is no JSON, 0 for a connection that is cut. paths: only those that hold one of
    these. seen: the paths it answered itself.
    """

    target: str
    status: int | None = None
    paths: tuple[str, ...] = ("",)
    seen: list[str] = field(default_factory=list)
    _client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if self.status is not None and any(part in scope["path"] for part in self.paths):
            self.seen.append(scope["path"])
            await self._fail(scope, body, send)
            return
        if self._client is None:
            self._client = httpx.AsyncClient(base_url=self.target, timeout=120, trust_env=False)
        path = scope["path"] + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        headers = [(k, v) for k, v in scope["headers"] if k.decode() not in _NOT_PASSED_ON]
        answer = await self._client.request(scope["method"], path, content=body, headers=headers)
        await _send(send, answer.status_code, answer.content, answer.headers.get("content-type", ""))

    async def _fail(self, scope: Scope, body: bytes, send: Send) -> None:
        if self.status == 0:
            raise asyncio.CancelledError
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        said = f"you sent {body.decode('utf-8', 'replace')[:4_000]} with {headers}"
        told: Any = {"error": said, "status": {"error": said}, "error_type": "backend"}
        await _send(send, self.status or 500, said.encode() if self.status == 200 else orjson.dumps(told), "text/plain")


async def _send(send: Send, status: int, body: bytes, content_type: str) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
