"""aiohttp under httpx, for the openai client: a streamed answer is 200 small reads, and httpcore's are dear.

Of the 60 CPU-ms that such an answer took in rag_app, 15 went into httpcore, h11 and anyio.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import httpx
from yarl import URL

# Answers at the same time; the gateway has its own queue, and says 429.
MAX_CONNECTIONS = 1_000


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests by aiohttp. Fails with httpx's errors. Timeouts are the request's: connect, read."""

    def __init__(self) -> None:
        """Nothing connects before the first request."""
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response, its body still to be read."""
        limits = request.extensions.get("timeout", {})
        content = await request.aread()
        with _httpx_errors(request):
            response = await self._open().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=limits.get("connect"), sock_read=limits.get("read")
                ),
            )
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=_Body(response, request), request=request
        )

    async def aclose(self) -> None:
        """Close all connections; a later request opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # httpx does it
            )
        return self._session


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse, request: httpx.Request):
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors(self._request):
            async for part in self._response.content.iter_any():
                yield part

    async def aclose(self) -> None:
        # One that was read to its end has given its connection back; any other ends with it, and the model is told.
        self._response.close()


@contextmanager
def _httpx_errors(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as exc:
        raise httpx.ConnectTimeout(str(exc), request=request) from exc
    except TimeoutError as exc:  # SocketTimeoutError is one
        raise httpx.ReadTimeout(str(exc), request=request) from exc
    except aiohttp.ClientConnectorError as exc:
        raise httpx.ConnectError(str(exc), request=request) from exc
    except aiohttp.InvalidURL as exc:
        raise httpx.UnsupportedProtocol(str(exc), request=request) from exc
    except aiohttp.ClientError as exc:
        raise httpx.RemoteProtocolError(str(exc), request=request) from exc
