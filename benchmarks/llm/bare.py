"""The yardstick: a pass-through as an engineer who knows both libraries writes it, and nothing else of a gateway.

One session, no limit of its own, uvloop and httptools, no access log, bytes passed on as they come.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

URL = os.environ.get("BARE_UPSTREAM", "") + "/chat/completions"
HEADERS = {"content-type": "application/json", "authorization": f"Bearer {os.environ.get('BARE_UPSTREAM_KEY')}"}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One session for all requests."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as app.state.session:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    """Ask the upstream the same, and answer what it answers."""
    upstream = await request.app.state.session.post(URL, data=await request.body(), headers=HEADERS)
    if upstream.content_type == "text/event-stream":
        return StreamingResponse(chunks(upstream), upstream.status, media_type="text/event-stream")
    async with upstream:
        return Response(await upstream.read(), upstream.status, media_type=upstream.content_type)


async def chunks(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """What comes, as it comes."""
    async with upstream:
        async for chunk in upstream.content.iter_any():
            yield chunk


@app.get("/health")
async def health() -> dict[str, str]:
    """It runs."""
    return {"status": "ok"}


if __name__ == "__main__":
    port = int(os.environ["BARE_PORT"])
    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False)
