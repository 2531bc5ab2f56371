"""What an upstream's failing answer means: whose fault it is, and in which words it is told. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from llm_service.core.errors import Refused
from llm_service.providers.base import AttemptFailed, Fault
from service_kit.errors import DeadlineExceeded, ServiceError, Unavailable, Upstream

# How much of a stranger's answer a message quotes.
_QUOTED_CHARS = 500

_OPENAI_TYPE = re.compile(r"[a-z_]+")

# "This model's maximum context length is 512 tokens" (OpenAI, vLLM), "the request exceeds the available context size"
# (llama.cpp), "longer than the maximum model length" (vLLM).
_TOO_LONG = re.compile(r"maximum context length|available context size|maximum model length", re.IGNORECASE)

# An account without money stays empty: it is not asked again for this long, and callers hear of it at once.
_EMPTY_ACCOUNT = "insufficient_quota"
_EMPTY_ACCOUNT_REST_S = 60.0

# The standard has whole seconds only, some servers fractions.
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")

# A backend that asks to be let alone for longer is asked again after a day.
_LONGEST_REST_S = 86_400.0

# Routes that every server of this kind has: where one is missing, the address is wrong.
_EVERYBODY_HAS = frozenset({"/v1/chat/completions", "/v1/models"})


@dataclass(frozen=True, slots=True)
class Complaint:
    """An upstream's error in OpenAI's four fields. is_envelope: it came as an error object and not as stray text."""

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None
    is_envelope: bool = False


@dataclass(frozen=True, slots=True)
class Sender:
    """Who answered. key_source: the variable or file that holds its key.

    path: the gateway's, of what was asked; empty inside a stream, which shows that the route is there.
    """

    address: str
    key_source: str
    path: str = ""


def read_complaint(payload: bytes) -> Complaint:
    """Understand OpenAI's envelope, vLLM's (integer code, "BadRequestError", top-level), FastAPI's and plain text."""
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return Complaint(_quoted(payload.decode("utf-8", "replace").strip()) or "no message")
    if not isinstance(body, dict):
        return Complaint(_written(body))
    error = body.get("error", body if body.get("object") == "error" else None)
    if isinstance(error, dict):
        return _from_object(error)
    told = error if error is not None else body.get("detail", body)
    return Complaint(_quoted(told) if isinstance(told, str) else _written(told))


def _from_object(error: dict[str, Any]) -> Complaint:
    kind, param, code = error.get("type"), error.get("param"), error.get("code")
    message = error.get("message") or "no message"
    message = message if isinstance(message, str) else _written(message)
    if not isinstance(code, str):  # vLLM's is the HTTP status
        is_too_long = param == "input_tokens" or _TOO_LONG.search(message) is not None
        code, param = ("context_length_exceeded", "messages") if is_too_long else (None, param)
    return Complaint(
        message=_quoted(message),
        type=kind if isinstance(kind, str) and _OPENAI_TYPE.fullmatch(kind) else None,
        param=param.removeprefix("body.") if isinstance(param, str) else None,
        code=code,
        is_envelope=True,
    )


def status_in(payload: bytes) -> int:
    """The HTTP status that an error inside a stream stands for: vLLM tells it as `code`; else 500."""
    try:
        status = orjson.loads(payload)["error"]["code"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return 500
    return status if isinstance(status, int) and 400 <= status < 600 else 500


def retry_after_s(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date; None where it holds neither."""
    if not header:
        return None
    if _SECONDS.fullmatch(header.strip()):
        return min(float(header), _LONGEST_REST_S)
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # strangers write it: a year may have twenty digits
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)  # "-0000" is read as of no zone
    return min(max(0.0, (at - (now or datetime.now(UTC))).total_seconds()), _LONGEST_REST_S)


def failure_of(status: int, payload: bytes, retry_after: str | None, sender: Sender) -> ServiceError | AttemptFailed:
    """The failure that an answer with this status (not 200) is.

    AttemptFailed where the backend is at fault and another may do better: 401, 403, 408, 429 and 5xx.
    """
    complaint, after_s = read_complaint(payload), retry_after_s(retry_after)
    if status in {401, 403}:
        # Not the caller's key, and OpenAI quotes part of the key in its text: the operator acts, nothing is quoted.
        refused_key = Upstream(f"{sender.address} refused the key ({status}); check {sender.key_source}")
        return AttemptFailed(refused_key, Fault.KEY)
    if status == 429:
        if complaint.code == _EMPTY_ACCOUNT:
            return AttemptFailed(_refused(status, complaint, after_s), Fault.BUSY, after_s or _EMPTY_ACCOUNT_REST_S)
        return AttemptFailed(_refused(status, complaint, after_s), Fault.BUSY, after_s)
    if status == 408:
        logged = f"{sender.address} gave up waiting (408)"
        late = DeadlineExceeded(f"{logged}: {complaint.message}", logged=logged)
        return AttemptFailed(late, Fault.DOWN, after_s)
    if status == 404 and sender.path and not _names_a_model(complaint):
        return _missing(complaint, sender)
    if 400 <= status < 500:
        return _refused(status, complaint, after_s)
    # What it says may quote the request: it is for this caller only.
    logged = f"{sender.address} answered {status}"
    message = f"{logged}: {complaint.message}"
    if status == 503:
        down = Unavailable(message, retry_after_s=_whole(after_s) or 1, logged=logged)
        return AttemptFailed(down, Fault.DOWN, after_s)
    broken = Upstream(message, retry_after_s=_whole(after_s), logged=logged)
    # The rest are redirects and a 2xx that is no answer: a wrong address, which no other attempt mends.
    return AttemptFailed(broken, Fault.DOWN, after_s) if status >= 500 else broken


def _refused(status: int, complaint: Complaint, after_s: float | None) -> Refused:
    code = complaint.code or ("model_not_found" if status == 404 else None)
    return Refused(
        status,
        complaint.message,
        retry_after_s=_whole(after_s),
        type=complaint.type,
        param=complaint.param,
        code=code,
    )


def _missing(complaint: Complaint, sender: Sender) -> ServiceError:
    if sender.path in _EVERYBODY_HAS:
        hint = "check its address, which usually ends in /v1"
        return Upstream(f"{sender.address} has no {sender.path} there (404); {hint}")
    return Refused(404, f"{sender.address} has no {sender.path}: {complaint.message}", code="unknown_url")


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(seconds + 0.49))


def _names_a_model(complaint: Complaint) -> bool:
    """A 404 for an unknown model comes in an envelope; one for an unknown route comes without."""
    return complaint.is_envelope and "model" in f"{complaint.code} {complaint.message}".lower()


def _written(value: Any) -> str:
    try:
        return _quoted(orjson.dumps(value).decode())
    except TypeError:  # it reads 1,024 levels and writes 254; FastAPI's refusals quote what a caller nested
        return "an error that is nested too deeply to be shown"


def _quoted(text: str) -> str:
    return text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS]}…"
