"""Qdrant's way of asking and answering: bodies held to the client's own models, and its two envelopes."""

import time
from typing import Any, Generic, TypeVar, get_args

import orjson
from fastapi import Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from service_kit.errors import ServiceError, Unauthorized, ValidationFailed
from service_kit.failures import from_validation
from vector_db.core.errors import WrongInput

T = TypeVar("T")


class Body(Generic[T]):
    """Reads a request's JSON body as one of qdrant_client's models."""

    def __init__(self, kind: Any):
        """kind: the model, or a union of models."""
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)
        self.openapi = {
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "description": f"qdrant_client.http.models: {_name(kind)}"}
                    }
                },
            }
        }

    async def read(self, request: Request) -> T:
        """The body; fails with WrongInput (not JSON, 400) or ValidationFailed (not of this model, 422).

        orjson takes no NaN and no Infinity, and is several times faster than FastAPI's own reading of a large upsert.
        """
        try:
            value = orjson.loads(await request.body())
        except orjson.JSONDecodeError as exc:
            raise WrongInput(f"Format error in JSON body: {exc}") from exc
        try:
            return self._adapter.validate_python(value)
        except ValidationError as exc:
            raise _validation(exc) from exc


def _name(kind: Any) -> str:
    return " | ".join(part.__name__ for part in get_args(kind) or (kind,))


def _validation(error: ValidationError) -> ValidationFailed:
    # A union reports every branch that did not fit, which for a filter is dozens of lines: the first few tell enough.
    failed = from_validation(error.errors(include_url=False)[:8])
    return ValidationFailed(f"Validation error in JSON body: {failed.message}", details=failed.details)


def envelope(path: str, error: ServiceError) -> Any:
    """Qdrant's envelope for a failure; what it says of keys is text."""
    if isinstance(error, Unauthorized):
        return error.message
    return {"status": {"error": error.message}, "time": 0.0}


def answer(result: Any, started: float) -> Response:
    """Qdrant's envelope for a result. started: time.perf_counter() when the request came."""
    body = {"result": result, "status": "ok", "time": time.perf_counter() - started}
    return Response(orjson.dumps(body), media_type="application/json")
