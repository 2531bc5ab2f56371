"""Qdrant Edge raises bare `Exception`s, and its panics are no `Exception` at all: both become ours here."""

from collections.abc import Iterator
from contextlib import contextmanager

from service_kit.errors import NotFound, ServiceError
from vector_db.core.errors import WrongInput

_CLOSED = "Shard is not initialized"
_RUNTIME = "Service runtime error"


class EngineFailed(RuntimeError):
    """Edge failed in a way that no caller can mend; it is logged and answered as an internal error."""


@contextmanager
def edge_errors() -> Iterator[None]:
    """Map what Edge raises: WrongInput for a bad request, NotFound for a closed shard, EngineFailed for the rest."""
    try:
        yield
    except ServiceError:
        raise
    except (ValueError, TypeError, OverflowError) as exc:
        raise WrongInput(f"Wrong input: {exc}") from exc
    except Exception as exc:
        text = str(exc)
        if text.endswith(_CLOSED):
            raise NotFound("the collection was deleted while the request was running") from exc
        if text.startswith(_RUNTIME):
            raise EngineFailed(text) from exc
        raise WrongInput(f"Wrong input: {text}") from exc
    except BaseException as exc:
        # pyo3's PanicException derives from BaseException, which would end the thread that it reaches.
        if type(exc).__name__ != "PanicException":
            raise
        raise EngineFailed(f"Qdrant Edge panicked: {exc}") from exc
