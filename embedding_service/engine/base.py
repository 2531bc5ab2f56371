"""What the service asks of an engine, and how an engine's end is called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from embedding_service.backends.base import Batch, Task, Vectors
from embedding_service.core.model import FULL_PRECISION, ModelSpec

# Two lanes, each with threads of its own: a query never waits behind a bulk of texts.
Lane = Literal["query", "bulk"]


class EngineEnded(Exception):
    """The engine is gone, and with it all that was in work. Its text says how it ended."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A model that runs. backend: its name. dim: of a row. tasks: what may be asked. threads: of each lane.

    dtype: of its arithmetic. details: what the backend tells of itself in /info.
    """

    spec: ModelSpec
    backend: str
    dim: int
    tasks: frozenset[Task]
    threads: int
    dtype: str = FULL_PRECISION
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """rows: as Backend.run returns them. run_s: how long it ran, waiting in the engine left out."""

    rows: Vectors
    run_s: float


class Engine(Protocol):
    """One life of a model: started once, ended once. Another life is another engine."""

    async def start(self, progress: Callable[[str], None]) -> Ready:
        """Load the model. Fails with ModelError, which says what to do, or EngineEnded.

        progress: told, in words, what takes long.
        """
        ...

    async def run(self, lane: Lane, task: Task, batch: Batch) -> Done:
        """Run a batch after what was sent to its lane before. Fails with BackendFailed or EngineEnded."""
        ...

    async def ended(self) -> str:
        """Wait until the engine ends, by itself or by stop(), and say how."""
        ...

    async def stop(self) -> None:
        """End it; what is in work fails with EngineEnded."""
        ...
