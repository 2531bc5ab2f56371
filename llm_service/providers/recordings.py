"""Exchanges on disk: one file of JSON lines each, which a person can read and from which every byte comes back.

    {"recording":1,"method":"POST","path":"/v1/chat/completions","request":{…},"is_stream":true,"recorded_at":"2026-…Z"}
    {"at_s":0.412,"text":"data: {…}\\n\\n"}           a read, and when it came; "base64" where it is no UTF-8
    {"at_s":0.431,"end":"whole"}                      or {"at_s":…,"failure":{…}}

A file's name begins with the key of its request and goes on with the time, so that the files of one request sort in
their order. Prompts are private code: only the owner may read them.
"""

import base64
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llm_service.core.errors import Refused
from llm_service.providers.base import AttemptFailed, Fault
from service_kit import errors

_SUFFIX = ".jsonl"

# What a recorded failure may be; any other is stored as the nearest class above it.
_KINDS: dict[str, type[errors.ServiceError]] = {
    kind.__name__: kind
    for kind in (
        Refused,
        errors.Upstream,
        errors.Unavailable,
        errors.DeadlineExceeded,
        errors.NotFound,
        errors.Overloaded,
        errors.TooLarge,
        errors.ServiceError,
    )
}

Failure = AttemptFailed | errors.ServiceError


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked and what came.

    body: None for a GET. reads: (seconds after the question, bytes). ended_s: when the end or the failure was known.
    failure: instead of an answer where there are no reads, else where the stream broke off.
    """

    path: str
    body: bytes | None
    is_stream: bool
    reads: tuple[tuple[float, bytes], ...]
    ended_s: float
    failure: Failure | None = None


def key_of(path: str, body: bytes | None) -> str:
    """The name of a request: the same for the same path and the same JSON, however that is written."""
    asked = b"GET" if body is None else b"POST\n" + _canonical(body)
    return hashlib.sha256(path.encode() + b"\n" + asked).hexdigest()[:32]


def store(folder: Path, exchange: Exchange) -> None:
    """Write one file, whole or not at all. Fails with OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{key_of(exchange.path, exchange.body)}-{time.time_ns()}-{secrets.token_hex(3)}{_SUFFIX}"
    draft = folder / f".{name}"
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(orjson.dumps(line) + b"\n" for line in _lines(exchange))
        draft.rename(folder / name)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def stored_in(folder: Path) -> list[Path]:
    """The files of a folder, those of one request in the order of their recording."""
    return sorted(path for path in folder.glob(f"*{_SUFFIX}") if not path.name.startswith("."))


def load(path: Path) -> Exchange:
    """Read one file. Fails with ValueError, in words with the line, where it is damaged."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror}") from exc
    number = 1
    try:
        header = _read(_Header, lines[0] if lines else b"")
        reads = []
        for line in lines[1:-1]:
            number += 1
            read = _read(_Read, line)
            reads.append((read.at_s, read.content()))
        number += 1
        end = _read(_End, lines[-1])
        if not reads and end.failure is None:
            raise ValueError("it ends without an answer")
    except ValueError as exc:
        raise ValueError(f"{path}, line {number}: {exc}") from exc
    failure = None if end.failure is None else end.failure.error()
    return Exchange(header.path, header.body(), header.is_stream, tuple(reads), end.at_s, failure)


class _Line(BaseModel):
    """What a later version adds to a line is passed over."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Header(_Line):
    recording: Literal[1]
    method: Literal["GET", "POST"]
    path: str
    request: Any = None
    request_base64: str | None = None
    is_stream: bool
    recorded_at: str

    def body(self) -> bytes | None:
        if self.method == "GET":
            return None
        return _unpacked(self.request_base64) if self.request_base64 is not None else orjson.dumps(self.request)


class _Read(_Line):
    at_s: Annotated[float, Field(ge=0)]
    text: str | None = None
    base64: str | None = None

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if (self.text is None) is (self.base64 is None):
            raise ValueError("it has text or base64: it is not a read")
        if self.base64 is not None:
            _unpacked(self.base64)
        return self

    def content(self) -> bytes:
        return self.text.encode() if self.text is not None else _unpacked(self.base64 or "")


class _Failure(_Line):
    """`fault` is there where the attempt failed by the backend's fault, and with it what the backend asked for."""

    kind: str
    status: int
    code: str
    message: str
    retry_after_s: int | None = None
    details: dict[str, Any] = {}
    fault: Annotated[Fault, Field(strict=False)] | None = None
    backend_retry_after_s: float | None = None

    @field_validator("kind")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in _KINDS:
            raise ValueError(f"{value} is none of {', '.join(_KINDS)}")
        return value

    @classmethod
    def of(cls, failure: Failure) -> Self:
        error = failure.failure if isinstance(failure, AttemptFailed) else failure
        kind = next(above.__name__ for above in type(error).__mro__ if _KINDS.get(above.__name__) is above)
        told = cls(
            kind=kind,
            status=error.status,
            code=error.code,
            message=error.message,
            retry_after_s=error.retry_after_s,
            details=error.details,
        )
        if not isinstance(failure, AttemptFailed):
            return told
        return told.model_copy(update={"fault": failure.fault, "backend_retry_after_s": failure.retry_after_s})

    def error(self) -> Failure:
        kind = _KINDS[self.kind]
        error: errors.ServiceError
        if kind is Refused:
            error = Refused(self.status, self.message, retry_after_s=self.retry_after_s, **self.details)
        else:
            error = kind(self.message, retry_after_s=self.retry_after_s, details=self.details)
        return error if self.fault is None else AttemptFailed(error, self.fault, self.backend_retry_after_s)


class _End(_Line):
    at_s: Annotated[float, Field(ge=0)]
    end: Literal["whole"] | None = None
    failure: _Failure | None = None

    @model_validator(mode="after")
    def _is_an_end(self) -> Self:
        if (self.end is None) is (self.failure is None):
            raise ValueError("it is no end: the file was cut short, or goes on after its end")
        return self


_LineT = TypeVar("_LineT", bound=_Line)


def _read(kind: type[_LineT], line: bytes) -> _LineT:
    try:
        return kind.model_validate(orjson.loads(line))
    except orjson.JSONDecodeError as exc:
        raise ValueError(f"it is not JSON ({exc})") from exc
    except ValidationError as exc:
        raise ValueError("; ".join(_fault(error["loc"], error["msg"]) for error in exc.errors())) from exc


def _fault(location: tuple[int | str, ...], told: str) -> str:
    return " ".join([*(str(part) for part in location), told.removeprefix("Value error, ")])


def _lines(exchange: Exchange) -> Iterator[dict[str, Any]]:
    yield {
        "recording": 1,
        "method": "GET" if exchange.body is None else "POST",
        "path": exchange.path,
        **_request(exchange.body),
        "is_stream": exchange.is_stream,
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    for at_s, content in exchange.reads:
        yield {"at_s": round(at_s, 6), **_packed(content)}
    end = {"end": "whole"} if exchange.failure is None else {"failure": _Failure.of(exchange.failure).model_dump()}
    yield {"at_s": round(exchange.ended_s, 6), **end}


def _canonical(body: bytes) -> bytes:
    """JSON with its keys in order and no spaces; what is no JSON stays as it is."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:
        return body


def _request(body: bytes | None) -> dict[str, Any]:
    if body is None:
        return {}
    try:
        return {"request": orjson.loads(_canonical(body))}
    except orjson.JSONDecodeError:
        return {"request_base64": base64.b64encode(body).decode()}


def _packed(content: bytes) -> dict[str, str]:
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _unpacked(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise ValueError(f"it is not base64 ({exc})") from exc
