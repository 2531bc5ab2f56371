"""What all routes share of HTTP: counting, a client that leaves, JSON from arrays, TEI's headers, the key."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import SecretStr
from starlette.responses import Response

from embedding_service.features.embedding.failures import ClientLeft, err_word
from embedding_service.features.embedding.metrics import Spent, TeiMetrics
from service_kit.errors import ServiceError, Unauthorized

_Result = TypeVar("_Result")


@contextmanager
def counted(metrics: TeiMetrics, is_single: bool) -> Iterator[None]:
    """Count a request of TEI's inference routes, and how it ends."""
    method = "single" if is_single else "batch"
    metrics.requests.labels(method).inc()
    try:
        yield
    except (ServiceError, asyncio.CancelledError) as exc:
        metrics.failures.labels(err_word(exc)).inc()
        raise
    metrics.successes.labels(method).inc()


async def while_connected(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of `work`; where the client leaves first, the work is cancelled and ClientLeft raised.

    Without it a client that gives up and tries again leaves each of its bulk requests to be embedded to the end.
    """
    # The work is done in the request's own task: a second one, waited for, costs 9 us a query.
    task = asyncio.current_task()
    assert task is not None
    has_left = False

    def leave(_: object) -> None:
        nonlocal has_left
        has_left = True
        task.cancel()

    leaving = asyncio.ensure_future(_client_leaves(request))
    leaving.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if not has_left:
            raise
        task.uncancel()
        raise ClientLeft("the client left before its answer") from None
    finally:
        leaving.remove_done_callback(leave)
        leaving.cancel()


async def _client_leaves(request: Request) -> None:
    # The body has been read, so that the next message is the end.
    while (await request.receive())["type"] != "http.disconnect":
        pass


def json_response(value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """200 with the value, which may hold numpy arrays."""
    # Straight from numpy: 256 vectors take 4 ms this way and about 30 as lists of Python floats.
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), 200, headers, "application/json")


def compute_headers(spent: Spent) -> dict[str, str]:
    """TEI's account of a request; times in whole milliseconds."""
    total, tokenization, queue, inference = (
        str(round(seconds * 1e3)) for seconds in (spent.total_s, spent.tokenization_s, spent.queue_s, spent.inference_s)
    )
    return {
        "x-compute-type": "cpu+optimized",
        "x-compute-time": total,
        "x-compute-characters": str(spent.characters),
        "x-compute-tokens": str(spent.tokens),
        "x-total-time": total,
        "x-tokenization-time": tokenization,
        "x-queue-time": queue,
        "x-inference-time": inference,
    }


def require_key(key: SecretStr) -> Callable[[Request], Awaitable[None]]:
    """A dependency that refuses requests without `Authorization: Bearer <key>`."""

    async def check(request: Request) -> None:
        expected = f"Bearer {key.get_secret_value()}".encode()
        # Compared as bytes, in constant time: a header may hold what is not ASCII.
        if not hmac.compare_digest(request.headers.get("authorization", "").encode("latin-1"), expected):
            raise Unauthorized("no key or a wrong one; send EMBEDDING_API_KEY as Authorization: Bearer ...")

    return check
