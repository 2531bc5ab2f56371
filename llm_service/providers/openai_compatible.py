"""One OpenAI-compatible server, called by aiohttp. The only module that knows it; its types and errors stay here."""

import asyncio
from typing import Any

import aiohttp
import orjson
from yarl import URL

from llm_service.core.backends import Backend
from llm_service.providers.base import AttemptFailed, Call, Fault
from llm_service.providers.refusals import Sender, failure_of, status_in
from service_kit.context import REQUEST_ID_HEADER, request_id
from service_kit.errors import DeadlineExceeded, NotFound, ServiceError, Unavailable, Upstream

# The list of models is asked for by readiness probes: it may not hang as long as an answer may.
FETCH_TIMEOUT_S = 5.0

# A whole (not streamed) answer is held in memory; the longest of today's models is under 1 MB, and 256 embeddings of
# 4,096 numbers are 22 MB.
MAX_ANSWER_BYTES = 32_000_000

# What a stream may run ahead of its reader, twice: aiohttp stops reading the socket above that. A thousand slow readers
# then hold 33 MB, where aiohttp's own 64 KiB would make it 131.
_READ_BYTES = 16 * 1024

# What a deadline waited for, and the setting that says for how long.
_FIRST_TOKEN = "its first token within LLM_FIRST_TOKEN_TIMEOUT_S"
_TOTAL = "its whole answer within LLM_TOTAL_TIMEOUT_S"

# How a server says that it has no such route.
_ABSENT = frozenset({404, 405})


class Connections:
    """The pool of connections that all backends share."""

    def __init__(self, connect_timeout_s: float):
        """Opens nothing yet."""
        self.connect_timeout_s = connect_timeout_s
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> aiohttp.ClientSession:
        """The session, made at the first use, because it belongs to the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # limit=0: the door's own number is the limit; a queue here would be one that nobody sees.
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect_timeout_s),
                # One caller's cookie is not the next one's.
                cookie_jar=aiohttp.DummyCookieJar(),
                # identity: bytes are passed on as they come, and a compressing server would hold back small events.
                headers={"accept-encoding": "identity"},
                skip_auto_headers=("user-agent",),
                read_bufsize=_READ_BYTES,
            )
        return self._session

    async def close(self) -> None:
        """Close all of them; a later call opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Begun:
    """An Answer of aiohttp's."""

    __slots__ = ("_address", "_response", "first", "is_stream")

    def __init__(self, response: aiohttp.ClientResponse, first: bytes, is_stream: bool, address: str):
        self._response = response
        self._address = address
        self.first = first
        self.is_stream = is_stream

    async def more(self) -> bytes:
        try:
            return await self._response.content.readany()
        except aiohttp.ClientError as exc:
            name = type(exc).__name__
            raise Upstream(f"{self._address} broke off in the middle of its stream ({name})") from exc

    def close(self) -> None:
        # After the end this is a no-op; before it, closing the connection is what stops the server's work.
        self._response.close()


class OpenAiCompatible:
    """Calls one server."""

    def __init__(self, backend: Backend, connections: Connections):
        """Asks nothing yet."""
        self._connections = connections
        self._key = backend.key.get_secret_value() if backend.key is not None else None
        self._key_source = backend.key_source
        self._base_url = backend.base_url
        # vLLM has its own routes beside /v1.
        self._root = backend.base_url.removesuffix("/v1")
        self._urls: dict[str, URL] = {}

    @property
    def address(self) -> str:
        """The base URL; the configuration refuses one with a password in it."""
        return self._base_url

    async def close(self) -> None:
        """Nothing: the connections belong to all."""

    async def models(self) -> tuple[dict[str, Any], ...]:
        """What the server lists under /models; empty where it has no such route."""
        try:
            payload = await self.fetch("/v1/models")
        except NotFound:
            return ()
        data = orjson.loads(payload).get("data")
        if not isinstance(data, list):
            raise Upstream(f"{self.address}/models answered with something that is not OpenAI's list of models")
        return tuple(model for model in data if isinstance(model, dict) and isinstance(model.get("id"), str))

    async def fetch(self, path: str) -> bytes:
        """GET a JSON object. Fails with NotFound where the server has no such route."""
        expires_at = asyncio.get_running_loop().time() + FETCH_TIMEOUT_S
        try:
            async with asyncio.timeout_at(expires_at):
                async with self._connections.open().get(
                    self._url(path), headers=self._headers(), allow_redirects=False
                ) as response:
                    payload = await self._read(response)
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise self._mapped(exc, f"{path} in {FETCH_TIMEOUT_S:g} s") from exc
        if response.status in _ABSENT:
            raise NotFound(f"{self.address} has no {path}")
        if response.status != 200:
            raise self._refusal(response.status, payload, response.headers.get("retry-after"), path)
        return self._json_object(payload)

    async def send(self, call: Call) -> _Begun:
        """One request up to its first bytes: all of a whole answer, the first chunk of a stream."""
        response = None
        deadline = call.first_by if call.is_stream else call.expires_at
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._connections.open().post(
                    self._url(call.path), data=call.body, headers=self._headers(), allow_redirects=False
                )
                if response.status != 200:
                    payload = await self._read(response)
                    raise self._refusal(response.status, payload, response.headers.get("retry-after"), call.path)
                return await self._begin(response, call.is_stream)
        except (aiohttp.ClientError, TimeoutError) as exc:
            _close(response)
            awaits_token = call.is_stream and call.first_by < call.expires_at
            raise self._mapped(exc, _FIRST_TOKEN if awaits_token else _TOTAL) from exc
        except BaseException:  # the client's leaving arrives here as a cancellation
            _close(response)
            raise

    async def _begin(self, response: aiohttp.ClientResponse, is_stream: bool) -> _Begun:
        if is_stream and response.content_type == "text/event-stream":
            first = await self._first_event(response)
            if not first:
                raise self._down(Upstream(f"{self.address} ended its stream before the first byte"))
            if first.startswith(b'data: {"error"'):
                raise self._refusal_in_stream(await self._whole_event(response, first))
            return _Begun(response, first, True, self.address)
        return _Begun(response, self._json_object(await self._read(response)), False, self.address)

    async def _first_event(self, response: aiohttp.ClientResponse) -> bytes:
        """The first bytes but for comments, which OpenRouter sends while it waits as we do: they are no token."""
        first = await response.content.readany()
        while first.startswith(b":") and b"\ndata:" not in first and len(first) < _READ_BYTES:
            more = await response.content.readany()
            if not more:
                return b""
            first = more if first.endswith(b"\n") else first + more
        return first

    async def _whole_event(self, response: aiohttp.ClientResponse, first: bytes) -> bytes:
        while b"\n" not in first and len(first) < MAX_ANSWER_BYTES and (more := await response.content.readany()):
            first += more
        return first

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        declared = response.content_length
        if declared is not None and declared <= MAX_ANSWER_BYTES:
            return await response.read()
        payload = bytearray()
        async for chunk in response.content.iter_any():
            payload += chunk
            if len(payload) > MAX_ANSWER_BYTES:
                raise Upstream(f"{self.address} answered with more than {MAX_ANSWER_BYTES} bytes")
        return bytes(payload)

    def _json_object(self, payload: bytes) -> bytes:
        # Its ends tell a JSON object from HTML, text and lists; reading all of it would cost 6 ms a megabyte.
        ends = payload[:64].lstrip()[:1] + payload[-64:].rstrip()[-1:]
        if ends != b"{}":
            raise Upstream(f"{self.address} answered 200 with something that is not a JSON object; check its address")
        return payload

    def _mapped(self, error: aiohttp.ClientError | TimeoutError, what: str) -> Exception:
        name = type(error).__name__
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            limit_s = self._connections.connect_timeout_s
            return self._down(
                DeadlineExceeded(f"{self.address} took no connection within LLM_CONNECT_TIMEOUT_S ({limit_s:g} s)")
            )
        if isinstance(error, aiohttp.ClientConnectionError):
            reason = f"{self.address} cannot be reached ({name}); start that server or change its address"
            return self._down(Unavailable(reason, retry_after_s=1))
        if isinstance(error, aiohttp.ClientError):
            return self._down(Upstream(f"{self.address} answered badly ({name})"))
        return DeadlineExceeded(f"{self.address} did not give {what}")

    def _refusal_in_stream(self, first: bytes) -> Exception:
        """vLLM's 200 whose first event is the error; nothing has gone out yet, so that it can be told as one."""
        payload = first.removeprefix(b"data: ").partition(b"\n")[0].rstrip()
        return self._refusal(status_in(payload), payload, None)

    def _refusal(self, status: int, payload: bytes, retry_after: str | None, path: str = "") -> Exception:
        if self._key:
            payload = payload.replace(self._key.encode(), b"***")
        return failure_of(status, payload, retry_after, Sender(self.address, self._key_source, path))

    def _down(self, failure: ServiceError) -> AttemptFailed:
        return AttemptFailed(failure, Fault.DOWN)

    def _headers(self) -> dict[str, str]:
        headers = {REQUEST_ID_HEADER: request_id.get(), "content-type": "application/json"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        return headers

    def _url(self, path: str) -> URL:
        """ "/v1/…" is below the base URL, which need not end in /v1; the rest is beside it."""
        url = self._urls.get(path)
        if url is None:
            is_below = path.startswith("/v1/")
            text = self._base_url + path.removeprefix("/v1") if is_below else self._root + path
            url = self._urls[path] = URL(text)
        return url


def _close(response: aiohttp.ClientResponse | None) -> None:
    if response is not None:
        response.close()
