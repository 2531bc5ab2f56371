"""The routes that are forwarded."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from llm_service.admission.door import BytesBudget
from llm_service.admission.gate import Gate
from llm_service.core.envelope import documented_failures
from llm_service.core.errors import ClientLeft
from llm_service.features.chat.caller import Caller
from llm_service.features.chat.schemas import CHAT, ROUTES, Limits, Route, parse_request
from llm_service.features.chat.service import ChatService

# nginx's word for a client that closed its connection: nobody reads it but the access log and the metrics.
CLIENT_LEFT = 499


class Forward:
    """One forwarded route, as a bare ASGI app: FastAPI's own handling of it took 80 of 165 us a request."""

    def __init__(
        self, route: Route, service: ChatService, gate: Gate, bodies: BytesBudget, limits: Limits, body_timeout_s: float
    ):
        """bodies: what all requests may hold together. body_timeout_s: how long one may take to arrive."""
        self._route = route
        self._service = service
        self._gate = gate
        self._bodies = bodies
        self._limits = limits
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Failures before the first byte are raised, for the app to render."""
        account = self._gate.admit(scope["headers"])
        caller = Caller(receive, send)
        try:
            with self._bodies.open() as holding:
                body = await caller.body(holding, self._body_timeout_s)
                request = parse_request(self._route, body, self._limits)
                if request.cut:
                    caller.tell(b"x-cut-to-limit", ",".join(request.cut).encode())
                await self._service.serve(request, caller, account)
        except ClientLeft:
            # Goes nowhere; the layers above learn how it ended. Where an answer is left unfinished, as for a client
            # that stopped reading, the server closes the connection. Such a client's buffers are full, and waiting
            # for room would be for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await send({"type": "http.response.start", "status": CLIENT_LEFT, "headers": []})


class AsgiRoute(APIRoute):
    """A route that stands in the OpenAPI document, and is served by a bare ASGI app."""

    def __init__(self, route: Route, served_by: ASGIApp, **documentation: Any):
        """documentation: as APIRoute's."""

        async def documented() -> Response:
            raise AssertionError("the route's own app serves it")

        super().__init__(
            route.path,
            documented,
            name=route.path,
            summary=route.summary,
            methods=["POST"],
            response_class=Response,
            **documentation,
        )
        self.app = served_by


def forwarded_routes(
    service: ChatService, gate: Gate, bodies: BytesBudget, limits: Limits, body_timeout_s: float
) -> Sequence[APIRoute]:
    """POST /v1/chat/completions, /v1/completions, /v1/embeddings, /tokenize and /detokenize."""
    return [
        AsgiRoute(
            route,
            Forward(route, service, gate, bodies, limits, body_timeout_s),
            tags=["OpenAI" if route.path.startswith("/v1") else "vLLM"],
            openapi_extra=_document(route),
            responses=documented_failures(),
        )
        for route in ROUTES
    ]


_MESSAGES = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["role"],
        "properties": {
            "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
            "content": {"type": ["string", "array", "null"], "items": {"type": "object"}},
        },
    },
}
_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": _TEXT}], "description": "A text, or several."}

# One server-sent event, as FastAPI documents its own; its data is a chunk, an error's envelope or [DONE].
_EVENT = {"type": "object", "required": ["data"], "properties": {"data": {"type": "string"}}}


def _document(route: Route) -> dict[str, Any]:
    """What /docs shows of a request. The model behind the gateway decides which further fields there are."""
    properties: dict[str, Any] = {"model": {"type": "string", "description": "Empty: the default model."}}
    if route.required is not None:
        properties[route.required] = _MESSAGES if route is CHAT else _TEXTS
    if route.generates:
        properties["stream"] = {"type": "boolean", "default": False}
        properties["stream_options"] = {"type": ["object", "null"]}
        for name in ("max_tokens", "max_completion_tokens"):
            properties[name] = {"type": ["integer", "null"], "description": "Cut to LLM_MAX_TOKENS."}
        properties["n"] = {"type": ["integer", "null"], "description": "Cut to LLM_MAX_N."}
    schema = {
        "type": "object",
        "required": [route.required] if route.required else [],
        "additionalProperties": True,
        "properties": properties,
    }
    answers: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if route.generates:
        answers["text/event-stream"] = {"itemSchema": _EVENT}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "As the model's server answers", "content": answers}},
    }
