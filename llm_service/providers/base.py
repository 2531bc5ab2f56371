"""The seam between the gateway and what answers behind it: one attempt at one backend."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from service_kit.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Call:
    """One request to forward.

    path: the gateway's own, such as "/v1/chat/completions" or "/tokenize". body: JSON, as it shall arrive.
    is_stream: the caller wants server-sent events. first_by, expires_at: in the running loop's time; when the first
    bytes, and when the whole of a plain answer, must be there.
    """

    path: str
    body: bytes
    is_stream: bool
    first_by: float
    expires_at: float


class Fault(StrEnum):
    """What a failed attempt says about its backend."""

    DOWN = "down"  # no connection, a broken one, 408 or 5xx: another attempt may do better
    BUSY = "busy"  # 429: not before Retry-After
    KEY = "key"  # 401 or 403: until an operator acts


class AttemptFailed(Exception):
    """An attempt failed before its first byte by the backend's fault; the pool decides what follows."""

    def __init__(self, failure: ServiceError, fault: Fault, retry_after_s: float | None = None):
        """failure: what a caller is told when no other attempt follows. retry_after_s: what the backend asked for."""
        super().__init__(failure.message)
        self.failure = failure
        self.fault = fault
        self.retry_after_s = retry_after_s


class Answer(Protocol):
    """An answer that has begun: from here on nothing is retried."""

    @property
    def is_stream(self) -> bool:
        """Whether it is server-sent events; a server may answer a streamed request with one JSON body."""
        ...

    @property
    def first(self) -> bytes:
        """A whole JSON body, or a stream's first bytes."""
        ...

    async def more(self) -> bytes:
        """A stream's next bytes, b"" at its end. Fails with Upstream where it breaks off. Has no deadline."""
        ...

    def close(self) -> None:
        """Let go of it. Before its end this closes the connection, which stops the server's work. May come twice."""
        ...


class Provider(Protocol):
    """One backend."""

    @property
    def address(self) -> str:
        """Where it is, for messages; holds no secret."""
        ...

    async def models(self) -> tuple[dict[str, Any], ...]:
        """What it serves, in OpenAI's shape; empty where it has no such list. Fails with AttemptFailed or Upstream."""
        ...

    async def send(self, call: Call) -> Answer:
        """Ask once.

        Fails with AttemptFailed where the backend is at fault, Refused (any other 4xx) where the request is, Upstream
        where the answer is no JSON object, DeadlineExceeded where it took too long.
        """
        ...

    async def fetch(self, path: str) -> bytes:
        """A small JSON document, such as "/version". Fails with NotFound where it has none, else as `models`."""
        ...

    async def close(self) -> None:
        """Close pooled connections."""
        ...
