"""Holds the model while it loads, once it is there, and when it could not be loaded."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from embedding_service.backends.base import ModelError
from embedding_service.backends.load import LoadedModel
from service_kit.errors import Unavailable
from service_kit.health import Check

_log = logging.getLogger("embedding_service.host")

Load = Callable[[], LoadedModel]

# A load takes a second. One that failed is tried again: a hub or a network disk comes back, a wrong name stays wrong.
_RETRY_LOADING_S = 1
RETRY_FAILED_S = 30


class ModelHost:
    """Loads in a thread, so that the process answers from its first moment."""

    def __init__(self, name: str, load: Load, retry_s: float = RETRY_FAILED_S):
        """name: of the model, for messages. load: blocks; may fail with ModelError. retry_s: pause after a failure."""
        self._name = name
        self._load = load
        self._model: LoadedModel | None = None
        self._retry_s = retry_s
        self._failure: str | None = None
        self._stopping = asyncio.Event()

    async def load(self) -> None:
        """Load the model, again after a failure, until stop(). Never fails: what went wrong is in check()."""
        while self._model is None and not self._stopping.is_set():
            await self._try()
            if self._model is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._retry_s)

    def stop(self) -> None:
        """Load no more; a load that runs is not interrupted."""
        self._stopping.set()

    async def _try(self) -> None:
        try:
            self._model = await asyncio.to_thread(self._load)
        except ModelError as exc:
            self._failure = str(exc)
            _log.error("model failed to load", extra={"model": self._name, "detail": self._failure})
        except Exception as exc:  # a library's bug, or memory: the process stays to say so
            self._failure = f"{type(exc).__name__} while loading model {self._name!r}; the log has more"
            _log.exception("model failed to load", extra={"model": self._name})

    def model(self) -> LoadedModel:
        """The model. Fails with Unavailable while there is none."""
        if self._model is None:
            retry_after_s = _RETRY_LOADING_S if self._failure is None else RETRY_FAILED_S
            raise Unavailable(self._detail(), retry_after_s=retry_after_s)
        return self._model

    def check(self) -> Check:
        """For /readyz: is it there, by which backend, or what is missing."""
        return Check("model", self._model is not None, self._detail())

    def _detail(self) -> str:
        if self._model is not None:
            return f"{self._name} by {self._model.backend.name}"
        return self._failure or f"model {self._name!r} is loading"
