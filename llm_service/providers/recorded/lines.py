"""The lines of a recording, checked as they are read. Pure; exchanges.py makes a file of them."""

import base64
from typing import Annotated, Any, Literal, Self, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llm_service.core.errors import Refused
from llm_service.providers.base import AttemptFailed, Fault
from service_kit import errors

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


class _Line(BaseModel):
    """What a later version adds to a line is passed over."""

    model_config = ConfigDict(strict=True, extra="ignore")


class HeaderLine(_Line):
    """The first line: what was asked."""

    recording: Literal[1]
    method: Literal["GET", "POST"]
    path: str
    request: Any = None
    request_base64: str | None = None
    is_stream: bool
    recorded_at: str

    def body(self) -> bytes | None:
        """The request, canonical; None for a GET."""
        if self.method == "GET":
            return None
        return unpacked(self.request_base64) if self.request_base64 is not None else orjson.dumps(self.request)


class ReadLine(_Line):
    """What came at once, and when, in seconds after the question."""

    at_s: Annotated[float, Field(ge=0)]
    text: str | None = None
    base64: str | None = None

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if (self.text is None) is (self.base64 is None):
            raise ValueError("it has text or base64: it is not a read")
        if self.base64 is not None:
            unpacked(self.base64)
        return self

    def content(self) -> bytes:
        """The bytes as they came."""
        return self.text.encode() if self.text is not None else unpacked(self.base64 or "")


class FailureLine(_Line):
    """`fault` is there where the attempt failed by the backend's fault, and with it what the backend asked for."""

    kind: str
    status: int
    code: str
    message: str
    retry_after_s: int | None = None
    details: dict[str, Any] = {}
    logged: str
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
        """What can be written of a failure: its words, and not what caused it."""
        error = failure.failure if isinstance(failure, AttemptFailed) else failure
        kind = next(above.__name__ for above in type(error).__mro__ if _KINDS.get(above.__name__) is above)
        told = cls(
            kind=kind,
            status=error.status,
            code=error.code,
            message=error.message,
            retry_after_s=error.retry_after_s,
            details=error.details,
            logged=error.logged,
        )
        if not isinstance(failure, AttemptFailed):
            return told
        return told.model_copy(update={"fault": failure.fault, "backend_retry_after_s": failure.retry_after_s})

    def error(self) -> Failure:
        """The failure again."""
        kind = _KINDS[self.kind]
        error: errors.ServiceError
        if kind is Refused:
            error = Refused(self.status, self.message, retry_after_s=self.retry_after_s, **self.details)
        else:
            error = kind(self.message, retry_after_s=self.retry_after_s, details=self.details, logged=self.logged)
        return error if self.fault is None else AttemptFailed(error, self.fault, self.backend_retry_after_s)


class EndLine(_Line):
    """The last line: how it ended, and when that was known."""

    at_s: Annotated[float, Field(ge=0)]
    end: Literal["whole"] | None = None
    failure: FailureLine | None = None

    @model_validator(mode="after")
    def _is_an_end(self) -> Self:
        if (self.end is None) is (self.failure is None):
            raise ValueError("it is no end: the file was cut short, or goes on after its end")
        return self


_LineT = TypeVar("_LineT", bound=_Line)


def checked(kind: type[_LineT], line: bytes) -> _LineT:
    """A line of the kind that must stand here. Fails with ValueError, in words."""
    try:
        return kind.model_validate(orjson.loads(line))
    except orjson.JSONDecodeError as exc:
        raise ValueError(f"it is not JSON ({exc})") from exc
    except ValidationError as exc:
        raise ValueError("; ".join(_fault(error["loc"], error["msg"]) for error in exc.errors())) from exc


def _fault(location: tuple[int | str, ...], told: str) -> str:
    return " ".join([*(str(part) for part in location), told.removeprefix("Value error, ")])


def packed(content: bytes) -> dict[str, str]:
    """Bytes as text where they are UTF-8, which JSON gives back bit for bit; else in base64."""
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def unpacked(text: str) -> bytes:
    """The bytes of base64. Fails with ValueError."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise ValueError(f"it is not base64 ({exc})") from exc
