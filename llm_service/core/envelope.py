"""OpenAI's error envelope, for whole answers and inside a stream."""

from typing import Any

import orjson

from service_kit.errors import ServiceError

# Word of our table -> (OpenAI's type, OpenAI's code).
_OPENAI: dict[str, tuple[str, str | None]] = {
    "validation": ("invalid_request_error", None),
    "empty": ("invalid_request_error", None),
    "forbidden": ("invalid_request_error", "forbidden"),
    "not_found": ("invalid_request_error", "unknown_url"),
    "conflict": ("invalid_request_error", None),
    "too_large": ("invalid_request_error", "request_too_large"),
    "overloaded": ("rate_limit_error", "rate_limit_exceeded"),
}


# JSON schema of the envelope, for the OpenAPI document.
_TEXT_OR_NULL = {"type": ["string", "null"]}
_ENVELOPE = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": _TEXT_OR_NULL,
                "code": _TEXT_OR_NULL,
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}


def documented_failures() -> dict[int | str, dict[str, Any]]:
    """How each route may fail, for the OpenAPI document: every failure is the envelope."""
    content = {"application/json": {"schema": _ENVELOPE}}
    return {
        "4XX": {
            "description": "The caller acts: 400, 401, 404, 408, 413, 429 or what a backend says",
            "content": content,
        },
        "5XX": {"description": "The operator acts: 502, 503 or 504", "content": content},
    }


def openai_envelope(path: str, error: ServiceError) -> Any:
    """{"error": {"message", "type", "param", "code"}}; an error's own `details` go before the table."""
    kind, code = _OPENAI.get(error.code, ("server_error", error.code))
    given = error.details
    return {
        "error": {
            "message": error.message,
            "type": given.get("type") or kind,
            "param": given.get("param"),
            "code": given.get("code") or code,
        }
    }


def error_event(error: ServiceError) -> bytes:
    """The same envelope as a server-sent event, for a stream that broke; OpenAI's clients raise on it."""
    return b"data: " + orjson.dumps(openai_envelope("", error)) + b"\n\n"
