"""What happens to every request, as plain ASGI: BaseHTTPMiddleware would hide a client's leaving from a stream."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_kit.context import REQUEST_ID_HEADER, accept_or_make, request_id
from service_kit.errors import TooLarge, Unavailable
from service_kit.logs import plain_handler
from service_kit.metrics import HttpMetrics, route_of

_log = logging.getLogger("service_kit.access")

# Probes and scrapes come every few seconds for ever; they are counted, not logged.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics", "/health"})


_REQUEST_ID = REQUEST_ID_HEADER.encode()


def _header(scope: Scope, name: bytes) -> bytes | None:
    """A request's first header of this name, lower-cased as ASGI has it; starlette's Headers take ten times as long."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


class RequestObserver:
    """Gives each request its id, one log line and its metrics."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, refuse: Callable[[Unavailable], ASGIApp]):
        """metrics: where requests are counted, by route template and never by raw path. refuse: as BodyLimit's."""
        self._app = app
        self._refuse = refuse
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass through untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Never reset: a request is a task with a context of its own, and the handler of unknown failures, outside of
        # all middleware, still needs the id.
        offered = _header(scope, _REQUEST_ID)
        this_id = accept_or_make(None if offered is None else offered.decode("latin-1"))
        request_id.set(this_id)
        status, is_answered = 500, False
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status, is_answered
            if message["type"] == "http.response.start":
                status, is_answered = message["status"], True
                message["headers"] = [*message["headers"], (_REQUEST_ID, this_id.encode())]
            await send(message)

        self._metrics.in_flight += 1
        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # The grace of a server that ends is over. Its own answer would be 500, which nobody tries again.
            if not is_answered:
                stopping = Unavailable("the service is shutting down; try again", retry_after_s=1)
                await self._refuse(stopping)(scope, receive, send_with_id)
            raise
        finally:
            self._metrics.in_flight -= 1
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, duration_s: float) -> None:
        route = route_of(scope)
        self._metrics.count(scope["method"], route, status, duration_s)
        level = logging.DEBUG if route in _QUIET else logging.INFO
        if not _log.isEnabledFor(level):
            return
        fields = {
            "method": scope["method"],
            "route": route,
            "status": status,
            "duration_ms": round(duration_s * 1e3, 2),
        }
        if level == logging.INFO and (handler := plain_handler(_log)) is not None:
            handler.write_info(_log.name, "request", fields)
        else:
            _log.log(level, "request", extra=fields)


class BodyLimit:
    """Refuses a body over max_bytes: at once by its declared length, else while it is read."""

    def __init__(self, app: ASGIApp, max_bytes: int, refuse: Callable[[TooLarge], ASGIApp]):
        """refuse: renders the refusal in the service's own envelope."""
        self._app = app
        self._max_bytes = max_bytes
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the answer is 413 `too_large` where its body is over the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = _header(scope, b"content-length")
        if declared is None or not declared.isdigit():
            receive = self._counted(receive)
        elif int(declared) > self._max_bytes:
            await self._refuse(self._error(int(declared)))(scope, receive, send)
            return
        await self._app(scope, receive, send)  # of a body with a length the server passes on no more than that

    def _counted(self, receive: Receive) -> Callable[[], Awaitable[Message]]:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise self._error(seen)  # raised inside the app, so the error handlers answer it
            return message

        return counted

    def _error(self, size: int) -> TooLarge:
        return TooLarge(f"the body has {size} bytes or more; the limit is {self._max_bytes}")
