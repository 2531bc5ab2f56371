"""Qdrant's failures, and those of the way to it, as words of the error table."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from service_kit.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable, Upstream

# How much of Qdrant's answer a message quotes.
_QUOTED_CHARS = 300


@contextmanager
def mapped(address: str, deadline_s: float) -> Iterator[None]:
    """Raise foreign failures as ours. address, deadline_s: named by the message."""
    try:
        yield
    except ResponseHandlingException as exc:
        raise _on_the_way(exc.source, address, deadline_s) from exc
    except UnexpectedResponse as exc:
        raise _answered(exc) from exc
    except ResourceExhaustedResponse as exc:
        raise Overloaded("Qdrant is busy (429)", retry_after_s=int(exc.retry_after_s)) from exc
    except json.JSONDecodeError as exc:  # the client lets it pass
        raise Upstream(f"Qdrant at {address} answered with something that is not JSON") from exc
    except TimeoutError as exc:
        raise _too_late(address, deadline_s) from exc


def _on_the_way(source: Exception, address: str, deadline_s: float) -> ServiceError:
    if isinstance(source, httpx.ConnectTimeout | httpx.ConnectError | httpx.PoolTimeout):
        return _unreachable(source, address)
    if isinstance(source, httpx.TimeoutException):
        return _too_late(address, deadline_s)
    if isinstance(source, httpx.HTTPError | OSError):
        return _unreachable(source, address)
    return Upstream(f"Qdrant at {address} answered something else than its API says ({type(source).__name__})")


def _unreachable(source: Exception, address: str) -> Unavailable:
    message = (
        f"Qdrant cannot be reached at {address} ({type(source).__name__}); start it or set QDRANT_HOST, QDRANT_PORT"
    )
    return Unavailable(message, retry_after_s=1)


def _too_late(address: str, deadline_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"Qdrant at {address} did not answer within {deadline_s:g} s (QDRANT_TIMEOUT_S)")


def _answered(exc: UnexpectedResponse) -> ServiceError:
    text = exc.content[:_QUOTED_CHARS].decode("utf-8", "replace")
    logged = f"Qdrant answered {exc.status_code}"  # its words may quote a point, and so the code in it
    match exc.status_code:
        case 404:
            message = f"Qdrant lacks the collection ({text}); sync a repository to build it"
            return Unavailable(message, retry_after_s=5, logged=logged)
        case 429:
            return Overloaded("Qdrant is busy (429)", retry_after_s=1)
        case 502 | 503 | 504:
            return Unavailable(f"Qdrant is not ready ({exc.status_code}: {text})", retry_after_s=1, logged=logged)
        case 401 | 403:
            return Upstream(f"Qdrant refuses the key ({exc.status_code}); set QDRANT_API_KEY")
        case _:
            return Upstream(f"{logged}: {text}", logged=logged)
