"""Keeps an engine alive: starts it, starts another when it has ended, and tells whether there is one."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from embedding_service.backends.base import ModelError
from embedding_service.backends.tokenizer import TextTokenizer, load_tokenizer
from embedding_service.core.model import ModelSpec, identity
from embedding_service.engine.base import Engine, EngineEnded, Ready
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.scheduler import Scheduler
from service_kit.errors import Unavailable
from service_kit.health import Check

_log = logging.getLogger("embedding_service.host")

MakeEngine = Callable[[], Engine]

# A load takes a second. One that failed is tried again: a hub or a network disk comes back, a wrong name stays wrong.
_RETRY_LOADING_S = 1
RETRY_FAILED_S = 30

# An engine that ends is replaced at once. Where the next one ends as early, or while it loads, the pauses grow: 1, 3,
# 7, 15 s, and so on to the pause after a failure.
_EARLY_S = 5.0
_MOST_DOUBLINGS = 10


@dataclass(frozen=True)
class Model:
    """What the service knows of the model that the engine runs."""

    ready: Ready
    tokenizer: TextTokenizer

    @property
    def spec(self) -> ModelSpec:
        """What the model's folder says."""
        return self.ready.spec

    @cached_property
    def identity(self) -> str:
        """What an index stores and compares; see core.model.identity."""
        return identity(self.ready.spec, self.ready.dim, self.ready.dtype)


class EngineHost:
    """The service answers from its first moment, and while the model is gone."""

    def __init__(
        self,
        name: str,
        make_engine: MakeEngine,
        scheduler: Scheduler,
        metrics: TeiMetrics,
        retry_s: float = RETRY_FAILED_S,
    ):
        """name: of the model, for messages. make_engine: gives one not yet started. retry_s: pause after a failure."""
        self._metrics = metrics
        self._name = name
        self._make_engine = make_engine
        self._scheduler = scheduler
        self._retry_s = retry_s
        self._model: Model | None = None
        self._engine: Engine | None = None
        self._failure: str | None = None
        self._doing = ""
        self._pause_s = 0.0
        self._early_ends = 0
        self._stopping = asyncio.Event()

    async def keep(self) -> None:
        """Have an engine run until stop(). Never fails: what went wrong is in check()."""
        while not self._stopping.is_set():
            self._pause_s = await self._live()
            if self._pause_s and not self._stopping.is_set():
                self._scheduler.drop(self._unavailable())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._pause_s)

    async def stop(self) -> None:
        """End the engine, and start no other."""
        self._stopping.set()
        if self._engine is not None:
            await self._engine.stop()

    def model(self) -> Model:
        """The model. Fails with Unavailable while there is none."""
        if self._model is None:
            raise self._unavailable()
        return self._model

    def check(self) -> Check:
        """For /readyz: is it there, by which backend, or what is missing."""
        return Check("model", self._model is not None, self._detail())

    async def _live(self) -> float:
        """One engine, from its start to its end. Returns the pause before the next, in seconds."""
        engine = self._engine = self._make_engine()
        try:
            ready = await engine.start(self._tell)
            self._model = Model(ready, await asyncio.to_thread(load_tokenizer, ready.spec))
        except ModelError as exc:
            await engine.stop()
            self._fail(str(exc))
            return self._retry_s
        except EngineEnded as exc:
            self._fail(str(exc))
            return self._after_early_end()
        except Exception as exc:  # no process or no memory to be had: the service stays to say so
            self._fail(f"{type(exc).__name__} while loading model {self._name!r}; the log has more")
            _log.exception("model failed to load", extra={"model": self._name})
            await engine.stop()
            return self._retry_s
        self._failure = None
        self._scheduler.use(engine, ready.threads)
        started_s = time.monotonic()
        how = await engine.ended()
        self._model = None
        self._scheduler.drop()
        if not self._stopping.is_set():
            self._metrics.engine_ends.inc()
            self._fail(f"{how}; another one is being started")
        if time.monotonic() - started_s < _EARLY_S:
            return self._after_early_end()
        self._early_ends = 0
        return 0.0

    def _after_early_end(self) -> float:
        self._early_ends += 1
        return min(self._retry_s, 2.0 ** min(self._early_ends - 1, _MOST_DOUBLINGS) - 1)

    def _tell(self, doing: str) -> None:
        self._doing = doing

    def _fail(self, failure: str) -> None:
        self._failure = failure
        _log.error("no model", extra={"model": self._name, "detail": failure})

    def _unavailable(self) -> Unavailable:
        # Not before the next try, and a load takes a second.
        return Unavailable(self._detail(), retry_after_s=max(_RETRY_LOADING_S, math.ceil(self._pause_s)))

    def _detail(self) -> str:
        if self._model is not None:
            return f"{self._name} by {self._model.ready.backend}"
        return self._failure or f"model {self._name!r} is loading" + (f": {self._doing}" if self._doing else "")
