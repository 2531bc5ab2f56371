"""Holds the model while it loads, once it is there, and when it could not be loaded."""

import asyncio
import logging
from collections.abc import Callable

from embedding_service.backends.base import ModelError
from embedding_service.backends.load import LoadedModel
from service_kit.errors import Unavailable
from service_kit.health import Check

_log = logging.getLogger("embedding_service.host")

Load = Callable[[], LoadedModel]

# A load takes a second; one that failed waits for an operator.
_RETRY_LOADING_S = 1
_RETRY_FAILED_S = 30


class ModelHost:
    """Loads in a thread, so that the process answers from its first moment."""

    def __init__(self, name: str, load: Load):
        """name: of the model, for messages. load: blocks; may fail with ModelError."""
        self._name = name
        self._load = load
        self._model: LoadedModel | None = None
        self._failure: str | None = None

    async def load(self) -> None:
        """Load the model. Never fails: what went wrong is in check() and model()."""
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
            retry_after_s = _RETRY_LOADING_S if self._failure is None else _RETRY_FAILED_S
            raise Unavailable(self._detail(), retry_after_s=retry_after_s)
        return self._model

    def check(self) -> Check:
        """For /readyz: is it there, by which backend, or what is missing."""
        return Check("model", self._model is not None, self._detail())

    def _detail(self) -> str:
        if self._model is not None:
            return f"{self._name} by {self._model.backend.name}"
        return self._failure or f"model {self._name!r} is loading"
