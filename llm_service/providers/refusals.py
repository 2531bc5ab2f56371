"""What an upstream's failing answer means: whose fault it is, and in which words it is told. Pure."""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from llm_service.core.errors import Refused
from service_kit.errors import ServiceError, Unavailable, Upstream

# How much of a stranger's answer a message quotes.
_QUOTED_CHARS = 500

_OPENAI_TYPE = re.compile(r"[a-z_]+")


@dataclass(frozen=True, slots=True)
class Complaint:
    """An upstream's error in OpenAI's four fields. is_envelope: it came as an error object and not as stray text."""

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None
    is_envelope: bool = False


def read_complaint(payload: bytes) -> Complaint:
    """Understand OpenAI's envelope, vLLM's (integer code, "BadRequestError", top-level), FastAPI's and plain text."""
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return Complaint(_quoted(payload.decode("utf-8", "replace").strip()))
    if not isinstance(body, dict):
        return Complaint(_quoted(str(body)))
    error = body.get("error", body if body.get("object") == "error" else None)
    if isinstance(error, dict):
        return _from_object(error)
    told = error if error is not None else body.get("detail", body)
    return Complaint(_quoted(told if isinstance(told, str) else orjson.dumps(told).decode()))


def _from_object(error: dict[str, Any]) -> Complaint:
    kind, param, code = error.get("type"), error.get("param"), error.get("code")
    return Complaint(
        message=_quoted(str(error.get("message") or "no message")),
        type=kind if isinstance(kind, str) and _OPENAI_TYPE.fullmatch(kind) else None,
        param=param if isinstance(param, str) else None,
        code=code if isinstance(code, str) else None,
        is_envelope=True,
    )


def failure_of(
    status: int, payload: bytes, retry_after_s: int | None, *, address: str, key_setting: str
) -> ServiceError:
    """The failure that an answer with this status (not 200) is.

    key_setting: the variable that holds the key. retry_after_s: what the server asked for, passed on.
    """
    complaint = read_complaint(payload)
    if status in {401, 403}:
        # Not the caller's key, and OpenAI quotes part of the key in its text: the operator acts, nothing is quoted.
        return Upstream(f"{address} refused the key ({status}); check {key_setting}")
    if status == 404 and not _names_a_model(complaint):
        hint = "check LLM_BASE_URL, which usually ends in /v1"
        return Upstream(f"{address} has no chat completions there (404: {complaint.message}); {hint}")
    if 400 <= status < 500:
        code = complaint.code or ("model_not_found" if status == 404 else None)
        return Refused(
            status,
            complaint.message,
            retry_after_s=retry_after_s,
            type=complaint.type,
            param=complaint.param,
            code=code,
        )
    message = f"{address} answered {status}: {complaint.message}"
    if status == 503:
        return Unavailable(message, retry_after_s=retry_after_s or 1)
    return Upstream(message, retry_after_s=retry_after_s)


def _names_a_model(complaint: Complaint) -> bool:
    return complaint.is_envelope and "model" in f"{complaint.code} {complaint.message}".lower()


def _quoted(text: str) -> str:
    return text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS]}…"
