"""One OpenAI-compatible server, called by aiohttp: 0.8 CPU-ms a request at concurrency 16, where httpx took 4.8."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from prometheus_client import Counter

from llm_service.core.settings import OPENAI_URL, LlmSettings
from llm_service.providers.base import Answer
from llm_service.providers.refusals import failure_of
from llm_service.providers.retries import MAX_RETRIES, MAX_WAIT_S, is_retryable, wait_s
from service_kit.context import REQUEST_ID_HEADER, request_id
from service_kit.errors import DeadlineExceeded, ServiceError, Unavailable, Upstream

# The whole list of models is asked for by readiness probes: it may not hang as long as an answer may.
MODELS_TIMEOUT_S = 5.0

# A whole (not streamed) answer is held in memory; the longest of today's models is under 1 MB.
MAX_ANSWER_BYTES = 32_000_000

# How a server says that it has no list of models.
_ABSENT = frozenset({404, 405})


@dataclass(frozen=True, slots=True)
class Deadlines:
    """All in seconds. first_byte: of a stream, retries included. idle: silence inside a stream. total: an answer."""

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float


class _Retryable(Exception):
    """An attempt failed before its first byte, in a way that may pass."""

    def __init__(self, failure: ServiceError, retry_after_s: int | None = None):
        """retry_after_s: what the server itself asked for."""
        super().__init__(failure.message)
        self.failure = failure
        self.retry_after_s = retry_after_s


class OpenAiCompatible:
    """Forwards to one server. `key_setting` is the variable that messages name where the key is refused."""

    def __init__(
        self, base_url: str, key: str | None, deadlines: Deadlines, *, key_setting: str, retries: Counter | None = None
    ):
        """key: sent as a bearer token to this server alone. retries: counts attempts after the first."""
        self._base_url = base_url
        self._key = key
        self._deadlines = deadlines
        self._key_setting = key_setting
        self._retries = retries
        self._session: aiohttp.ClientSession | None = None

    @property
    def address(self) -> str:
        """The base URL; settings refuse one with a password in it."""
        return self._base_url

    async def close(self) -> None:
        """Close pooled connections; a later call opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def models(self) -> tuple[dict[str, Any], ...]:
        """What the server lists under /models; empty where it has no such route."""
        expires_at = _now() + min(MODELS_TIMEOUT_S, self._deadlines.total_s)
        try:
            response, payload = await self._attempt("GET", "/models", None, is_stream=False, expires_at=expires_at)
        except _Retryable as exc:
            raise exc.failure from exc
        if response.status in _ABSENT:
            return ()
        data = orjson.loads(payload).get("data")
        if not isinstance(data, list):
            raise Upstream(f"{self.address}/models answered with something that is not OpenAI's list of models")
        return tuple(model for model in data if isinstance(model, dict) and isinstance(model.get("id"), str))

    @asynccontextmanager
    async def chat(self, body: bytes, *, is_stream: bool) -> AsyncIterator[Answer]:
        """Ask, with at most two retries before the first byte."""
        started = _now()
        ends_at = started + self._deadlines.total_s
        first_byte_at = min(ends_at, started + self._deadlines.first_byte_s) if is_stream else ends_at
        response, first = await self._with_retries(body, is_stream, first_byte_at)
        try:
            yield Answer(_is_events(response), first, self._rest(response, ends_at))
        finally:
            # After the end this is a no-op; before it, closing the connection is what stops the server's work.
            response.close()

    async def _with_retries(
        self, body: bytes, is_stream: bool, expires_at: float
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        for attempt in range(MAX_RETRIES + 1):
            try:
                return await self._attempt(
                    "POST", "/chat/completions", body, is_stream=is_stream, expires_at=expires_at
                )
            except _Retryable as exc:
                pause_s = wait_s(attempt, exc.retry_after_s)
                if attempt == MAX_RETRIES or pause_s > MAX_WAIT_S or _now() + pause_s >= expires_at:
                    raise exc.failure from exc
                if self._retries is not None:
                    self._retries.inc()
                await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    async def _attempt(
        self, method: str, path: str, body: bytes | None, *, is_stream: bool, expires_at: float
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """One request up to its first bytes: all of a whole answer, the first chunk of a stream."""
        response = None
        try:
            async with asyncio.timeout_at(expires_at):
                response = await self._open().request(
                    method, self._base_url + path, data=body, headers=self._headers(body), allow_redirects=False
                )
                return response, await self._first(response, is_stream, may_be_absent=method == "GET")
        except (aiohttp.ClientError, TimeoutError) as exc:
            _close(response)
            raise self._mapped(exc) from exc
        except BaseException:  # the client's leaving arrives here as a cancellation
            _close(response)
            raise

    async def _first(self, response: aiohttp.ClientResponse, is_stream: bool, may_be_absent: bool) -> bytes:
        if response.status != 200:
            payload = await _read(response)
            if may_be_absent and response.status in _ABSENT:
                return b""
            raise self._refusal(response, payload)
        if is_stream and _is_events(response):
            first = await response.content.readany()
            if not first:
                raise _Retryable(Upstream(f"{self.address} ended its stream before the first byte"))
            return first
        payload = await _read(response)
        if not _is_json_object(payload):
            raise Upstream(f"{self.address} answered 200 with something that is not a JSON object; check LLM_BASE_URL")
        return payload

    async def _rest(self, response: aiohttp.ClientResponse, ends_at: float) -> AsyncIterator[bytes]:
        if not _is_events(response):
            return
        idle_s = self._deadlines.idle_s
        while True:
            try:
                async with asyncio.timeout_at(min(_now() + idle_s, ends_at)):
                    chunk = await response.content.readany()
            except TimeoutError as exc:
                reason = f"was silent for {idle_s:g} s" if _now() < ends_at else "passed the deadline of the answer"
                raise DeadlineExceeded(f"{self.address} {reason} in the middle of its stream") from exc
            except aiohttp.ClientError as exc:
                raise Upstream(f"{self.address} broke off in the middle of its stream ({type(exc).__name__})") from exc
            if not chunk:
                return
            yield chunk

    def _mapped(self, error: aiohttp.ClientError | TimeoutError) -> Exception:
        name = type(error).__name__
        # aiohttp's own timeouts are ClientErrors too, and mean that no connection came about.
        if isinstance(error, aiohttp.ClientConnectionError):
            reason = f"{self.address} cannot be reached ({name}); start that server or change LLM_BASE_URL"
            return _Retryable(Unavailable(reason, retry_after_s=1))
        if isinstance(error, aiohttp.ClientError):
            return _Retryable(Upstream(f"{self.address} answered badly ({name})"))
        return DeadlineExceeded(f"{self.address} did not answer in time; see the LLM_…_TIMEOUT_S settings")

    def _refusal(self, response: aiohttp.ClientResponse, payload: bytes) -> Exception:
        if self._key:
            payload = payload.replace(self._key.encode(), b"***")
        header = response.headers.get("retry-after", "")
        # The other form, a date, is not sent by the servers that we know.
        retry_after_s = int(header) if header.isdigit() else None
        failure = failure_of(
            response.status, payload, retry_after_s, address=self.address, key_setting=self._key_setting
        )
        return _Retryable(failure, retry_after_s) if is_retryable(response.status, failure) else failure

    def _headers(self, body: bytes | None) -> dict[str, str]:
        # identity: bytes are passed on as they come, and a compressing server would hold back small events.
        headers = {REQUEST_ID_HEADER: request_id.get(), "accept-encoding": "identity"}
        if body is not None:
            headers["content-type"] = "application/json"
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        return headers

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # limit=0: the callers' own number is the limit; a queue here would be one that nobody sees.
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._deadlines.connect_s),
                # One caller's cookie is not the next one's.
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def provider_from(settings: LlmSettings, retries: Counter | None = None) -> OpenAiCompatible | None:
    """The server that the settings name: LLM_BASE_URL before OpenAI, None with neither."""
    deadlines = Deadlines(
        settings.llm_connect_timeout_s,
        settings.llm_first_byte_timeout_s,
        settings.llm_idle_timeout_s,
        settings.llm_total_timeout_s,
    )
    if settings.llm_base_url is not None:
        secret, setting, url = settings.llm_upstream_api_key, "LLM_UPSTREAM_API_KEY", settings.llm_base_url
    elif settings.openai_api_key is not None:
        secret, setting, url = settings.openai_api_key, "OPENAI_API_KEY", OPENAI_URL
    else:
        return None
    key = secret.get_secret_value() if secret is not None else None
    return OpenAiCompatible(url, key, deadlines, key_setting=setting, retries=retries)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _close(response: aiohttp.ClientResponse | None) -> None:
    if response is not None:
        response.close()


def _is_events(response: aiohttp.ClientResponse) -> bool:
    return response.status == 200 and response.content_type == "text/event-stream"


async def _read(response: aiohttp.ClientResponse) -> bytes:
    payload = bytearray()
    async for chunk in response.content.iter_any():
        payload += chunk
        if len(payload) > MAX_ANSWER_BYTES:
            raise Upstream(f"{response.url.origin()} answered with more than {MAX_ANSWER_BYTES} bytes")
    return bytes(payload)


def _is_json_object(payload: bytes) -> bool:
    try:
        return isinstance(orjson.loads(payload), dict)
    except orjson.JSONDecodeError:
        return False
