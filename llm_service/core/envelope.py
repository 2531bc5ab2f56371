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
