"""The seam between the gateway and the servers behind it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has begun: from here on nothing is retried.

    first: a whole JSON body, or a stream's first bytes. rest: what follows, empty for a whole body; it raises
    Upstream where the server breaks off and DeadlineExceeded where it falls silent.
    """

    is_stream: bool
    first: bytes
    rest: AsyncIterator[bytes]


class Provider(Protocol):
    """A server that speaks OpenAI's protocol, or several that act as one."""

    @property
    def address(self) -> str:
        """Where it is, for messages; holds no secret."""
        ...

    async def models(self) -> tuple[dict[str, Any], ...]:
        """What it serves, in OpenAI's shape; empty where it has no such list. Fails as `chat` does, no retries."""
        ...

    def chat(self, body: bytes, *, is_stream: bool) -> AbstractAsyncContextManager[Answer]:
        """Ask. The answer lives inside the block; leaving it early closes the connection, which stops the server.

        Fails with Refused (4xx), Overloaded-like Refused (429), Upstream, Unavailable or DeadlineExceeded.
        """
        ...

    async def close(self) -> None:
        """Close pooled connections."""
        ...
