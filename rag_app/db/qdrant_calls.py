"""One way of calling Qdrant by its client: with a deadline, one retry, and failures as words of the error table."""

import asyncio
import math
import warnings
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import httpx
from qdrant_client import AsyncQdrantClient

from rag_app.core.settings import RagSettings
from rag_app.db.qdrant_errors import mapped
from service_kit.context import REQUEST_ID_HEADER, request_id
from service_kit.errors import Unavailable
from service_kit.http import OutgoingClient

# One retry after a lost connection or a 503 hides a restart. Every call here may be repeated: ids are derived.
_BACKOFF_S = 0.2

P = ParamSpec("P")
T = TypeVar("T")


async def _named_request(request: httpx.Request) -> None:
    request.headers[REQUEST_ID_HEADER] = request_id.get()


class Qdrant:
    """The server that the settings name. `rest` is None where the client is one in memory, which is no server."""

    def __init__(self, settings: RagSettings, client: AsyncQdrantClient | None = None):
        """client: another one than the settings name (tests pass one in memory). Does no I/O."""
        self.settings = settings
        self.address = f"http://{settings.qdrant_host}:{settings.qdrant_port}"
        self._deadline_s = settings.qdrant_timeout_s
        key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
        self._http = OutgoingClient(
            "Qdrant",
            self.address,
            setting="QDRANT_HOST, QDRANT_PORT",
            deadline_s=self._deadline_s,
            headers={"api-key": key} if key else {},
        )
        self.rest = self._http if client is None else None
        self.client = client or self._connect(key)

    def _connect(self, key: str | None) -> AsyncQdrantClient:
        with warnings.catch_warnings():
            # Qdrant is spoken to by http, on this machine or in its own network: the way is the operator's choice.
            warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
            return AsyncQdrantClient(
                url=self.address,
                api_key=key,
                timeout=math.ceil(self._deadline_s),
                check_compatibility=False,  # it would call the server from the constructor
                event_hooks={"request": [_named_request]},
            )

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()
        await self._http.close()

    async def call(self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of `client`."""
        with mapped(self.address, self._deadline_s):
            async with asyncio.timeout(self._deadline_s):
                try:
                    return await self._once(method, *args, **kwargs)
                except Unavailable:
                    await asyncio.sleep(_BACKOFF_S)
                    return await self._once(method, *args, **kwargs)

    async def _once(self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        with mapped(self.address, self._deadline_s):
            return await method(*args, **kwargs)
