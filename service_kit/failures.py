"""Turns every failure of an app into its envelope: ours, or the one of the product that the service imitates."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from service_kit.context import REQUEST_ID_HEADER, request_id
from service_kit.errors import MethodNotAllowed, NotFound, ServiceError, ValidationFailed
from service_kit.metrics import HttpMetrics, route_of

_log = logging.getLogger("service_kit.failures")

# (path of the request, error) -> JSON-able body, or a str that is sent as it is, as text. The path lets one app speak
# two dialects.
Envelope = Callable[[str, ServiceError], Any]

# A value that a message quotes is cut here: a caller needs to recognise it, not to get it back.
_QUOTED_CHARS = 80


def default_envelope(path: str, error: ServiceError) -> Any:
    """Our own shape: {"error": {"code", "message", "request_id", "details"?}}."""
    body: dict[str, Any] = {"code": error.code, "message": error.message, "request_id": request_id.get()}
    if error.details:
        body["details"] = error.details
    return {"error": body}


def render(path: str, error: ServiceError, envelope: Envelope = default_envelope) -> Response:
    """The HTTP answer for an error: its status, its envelope, Retry-After in seconds where it is known, and at 401
    the scheme by which a key is sent.
    """
    headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    body = envelope(path, error)
    if isinstance(body, str):
        return Response(body, error.status, headers, "text/plain; charset=utf-8")
    return Response(orjson.dumps(body), error.status, headers, "application/json")


def answerer(metrics: HttpMetrics, envelope: Envelope = default_envelope) -> Callable[[Scope, ServiceError], Response]:
    """(scope, error) -> the HTTP answer, for failures while a request is served: counted and, from 500 on, logged."""

    def answer(scope: Scope, error: ServiceError) -> Response:
        metrics.errors.labels(error.code).inc()
        if error.status >= 500:
            _log.warning("failed", extra={"code": error.code, "route": route_of(scope), "detail": error.logged})
        return render(scope["path"], error, envelope)

    return answer


def install_failure_handlers(app: FastAPI, metrics: HttpMetrics, envelope: Envelope = default_envelope) -> None:
    """Make `app` answer every failure through `envelope` and count it by code."""
    answer_at = answerer(metrics, envelope)

    def answer(request: Request, error: ServiceError) -> Response:
        return answer_at(request.scope, error)

    async def on_service_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        return answer(request, error)

    async def on_invalid_request(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request, from_validation(error.errors(), request.headers.get("content-type")))

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(request, _from_http(request, error))

    async def on_unknown(request: Request, error: Exception) -> Response:
        _log.exception("unhandled", extra={"route": route_of(request.scope)})
        hidden = ServiceError(f"internal error; the log has it under request id {request_id.get()}")
        response = answer(request, hidden)
        # Starlette answers unknown failures outside of all middleware, where the id header is not added.
        response.headers[REQUEST_ID_HEADER] = request_id.get()
        return response

    app.add_exception_handler(ServiceError, on_service_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_unknown)


def from_validation(errors: Sequence[Any], content_type: str | None = None) -> ValidationFailed:
    """One sentence a field: where it is, what is wrong with it (pydantic's words name the limit), what was given.

    content_type: the request's, which a body that FastAPI did not take for JSON is explained by.
    """
    fields = []
    for error in errors:
        where, problem = _explain(error, content_type)
        fields.append({"field": where, "message": problem})
    message = "; ".join(
        field["message"] if field["field"] == "body" else f"{field['field']}: {field['message']}" for field in fields
    )
    return ValidationFailed(message, details={"fields": fields})


def _explain(error: Any, content_type: str | None) -> tuple[str, str]:
    """(the field, or "body" for the whole of it; what is wrong with it)."""
    where = ".".join(str(part) for part in error["loc"] if part != "body") or "body"
    given = error.get("input")
    if error["type"] == "json_invalid":
        # FastAPI gives the place as the field's name, and the parser's reason as its context.
        return "body", f"the body is not JSON: {error['ctx']['error']} at character {error['loc'][-1] + 1}"
    if where == "body" and isinstance(given, bytes):
        told = "without a content-type" if content_type is None else f"as {_quoted(content_type)}"
        return "body", f"the body came {told}; send JSON with content-type: application/json"
    if error["type"] == "missing":
        return where, "the body is missing; send JSON" if where == "body" else error["msg"]
    if error["type"] == "extra_forbidden":
        return where, f"no field of this name is known; see /docs (given: {_quoted(given)})"
    return where, f"{error['msg']} (given: {_quoted(given)})"


def _quoted(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = f"{type(value).__name__}, nested too deeply to be shown"
    return text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS]}… ({len(text)} characters)"


def _from_http(request: Request, error: HTTPException) -> ServiceError:
    if isinstance(error.__cause__, ServiceError):
        return error.__cause__  # FastAPI wraps what fails while it reads a body, our own refusals included
    match error.status_code:
        case 404:
            return NotFound(f"no route {request.method} {request.url.path}; see /docs")
        case 405:
            return MethodNotAllowed(f"{request.url.path} does not take {request.method}; see /docs")
        case _:
            # FastAPI itself raises 400 for a body that it cannot decode.
            return ValidationFailed(str(error.detail))
