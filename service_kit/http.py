"""The outgoing HTTP client: pooled, with deadlines, the request id, and every failure as a word of our table."""

import asyncio
import random
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from pydantic import SecretStr

from service_kit.context import REQUEST_ID_HEADER, request_id
from service_kit.errors import (
    DeadlineExceeded,
    NotFound,
    Overloaded,
    ServiceError,
    Unavailable,
    Upstream,
    ValidationFailed,
)

# One retry after a lost connection or a 503 hides a restart; more would multiply an outage's load.
RETRIES = 1
BACKOFF_S = 0.2

# How much of a stranger's answer a message quotes.
_QUOTED_CHARS = 300


def bearer(key: SecretStr | None) -> dict[str, str]:
    """The header that shows a key; none where there is no key."""
    return {} if key is None else {"authorization": f"Bearer {key.get_secret_value()}"}


class OutgoingClient:
    """Calls one peer. `name` is how messages speak of it; `setting` is the variable that holds its address."""

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        setting: str,
        deadline_s: float,
        pool_size: int = 32,
        headers: Mapping[str, str] | None = None,
    ):
        """deadline_s: for a whole call, retries included; headers: sent with each. Nothing connects before that."""
        self._headers = dict(headers or {})
        self._name = name
        self._base_url = base_url.rstrip("/")
        self._setting = setting
        self._deadline_s = deadline_s
        self._pool_size = pool_size
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close pooled connections; a later call opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self, method: str, path: str, json: Any = None, *, deadline_s: float | None = None, is_idempotent: bool = True
    ) -> Any:
        """Send one request and return the decoded JSON answer (None for an empty body).

        Fails with Unavailable (unreachable, 503), DeadlineExceeded, Overloaded (429), NotFound (404) or Upstream (all
        else). Idempotent calls are retried once on Unavailable, within the deadline.
        """
        limit_s = deadline_s if deadline_s is not None else self._deadline_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._with_retries(method, path, json, RETRIES if is_idempotent else 0)
        except TimeoutError as exc:
            raise DeadlineExceeded(f"{self._name} did not answer {method} {path} within {limit_s:g} s") from exc

    async def _with_retries(self, method: str, path: str, json: Any, retries: int) -> Any:
        for attempt in range(retries + 1):
            try:
                return await self._once(method, path, json)
            except Unavailable:
                if attempt == retries:
                    raise
                await asyncio.sleep(BACKOFF_S * (0.5 + random.random()))
        raise AssertionError("unreachable")

    async def _once(self, method: str, path: str, json: Any) -> Any:
        headers = {**self._headers, REQUEST_ID_HEADER: request_id.get()}
        body = None
        if json is not None:
            body = _encode(json)
            headers["content-type"] = "application/json"
        try:
            async with self._open().request(method, self._base_url + path, data=body, headers=headers) as response:
                payload = await response.read()
                if response.status < 400:
                    return self._decode(payload)
                raise self._failure(response.status, payload, response.headers.get("retry-after"))
        except aiohttp.ClientError as exc:
            reason = f"{self._name} cannot be reached at {self._base_url} ({type(exc).__name__})"
            raise Unavailable(f"{reason}; start it or set {self._setting}", retry_after_s=1) from exc

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._pool_size),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._deadline_s),
            )
        return self._session

    def _decode(self, payload: bytes) -> Any:
        if not payload:
            return None
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError as exc:
            raise Upstream(f"{self._name} answered with something that is not JSON") from exc

    def _failure(self, status: int, payload: bytes, retry_after: str | None) -> ServiceError:
        text = payload[:_QUOTED_CHARS].decode("utf-8", "replace")
        # What it says may quote the request: it is for this caller only.
        logged = f"{self._name} answered {status}"
        message = f"{logged}: {text}"
        retry_after_s = int(retry_after) if retry_after and retry_after.isdigit() else None
        match status:
            case 404:
                return NotFound(message, logged=logged)
            case 429:
                return Overloaded(message, retry_after_s=retry_after_s or 1, logged=logged)
            case 503:
                return Unavailable(message, retry_after_s=retry_after_s or 1, logged=logged)
            case _:
                return Upstream(message, logged=logged)


def _encode(json: Any) -> bytes:
    try:
        return orjson.dumps(json, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as exc:
        # A caller's "\\ud800" passes Python's JSON reader and cannot be written again. Any other value is our own bug.
        if "surrogates" not in str(exc):
            raise
        raise ValidationFailed("a text holds half of a surrogate pair, which is no Unicode; send it without") from exc
