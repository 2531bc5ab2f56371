"""Answers over HTTP that may take long: as server-sent events, and never longer than the caller stays."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from service_kit.context import request_id
from service_kit.errors import ServiceError
from service_kit.failures import default_envelope

_log = logging.getLogger("rag_app.generation")

# What a proxy records for a caller who left (nginx's word for it); nobody reads it.
CLIENT_LEFT = 499

T = TypeVar("T")


def events(
    request: Request, stream: AsyncGenerator[Any, None], name: Callable[[object], tuple[str, dict[str, Any]]]
) -> EventSourceResponse:
    """`stream` as server-sent events, each named by `name`; then `done`. A failure is `error`, then `done`.

    The stream is cancelled when the caller leaves.
    """

    async def encoded() -> AsyncIterator[ServerSentEvent]:
        try:
            async with aclosing(stream):
                async for event in stream:
                    yield _sse(*name(event))
        except ServiceError as exc:
            _log.warning("stream failed", extra={"code": exc.code, "detail": exc.logged})
            yield _sse("error", default_envelope(request.url.path, exc))
        except Exception:
            _log.exception("stream failed")
            hidden = ServiceError(f"internal error; the log has it under request id {request_id.get()}")
            yield _sse("error", default_envelope(request.url.path, hidden))
        yield _sse("done", {})

    return EventSourceResponse(encoded(), sep="\n")


async def while_connected(request: Request, work: Coroutine[Any, Any, T], render: Callable[[T], Response]) -> Response:
    """The rendered result of `work`; work is cancelled where the caller leaves before it is done."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return render(await task) if task.done() else Response(status_code=CLIENT_LEFT)
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _sse(name: str, data: dict[str, Any]) -> ServerSentEvent:
    # ASCII only: clients that split lines as Python does would cut an event at a U+2028 inside of a string.
    return ServerSentEvent(json.dumps(data, separators=(",", ":")), event=name, sep="\n")
