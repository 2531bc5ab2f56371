"""The worker process: loads the model, runs batches, ends when the service does. Knows no HTTP."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedding_service.backends.base import ModelError
from embedding_service.backends.load import LoadedModel, load_model
from embedding_service.core.settings import EmbeddingSettings
from embedding_service.engine import wire
from embedding_service.engine.base import Ready
from embedding_service.engine.lanes import LaneThreads
from service_kit.logs import configure_logging

_log = logging.getLogger("embedding_service.worker")


Load = Callable[[EmbeddingSettings, Callable[[str], None]], LoadedModel]


def work(connection: socket.socket, load: Load = load_model) -> None:
    """Serve one service over `connection` until it closes it: settings first, then batches. load: as load_model."""
    said = wire.receive(connection)
    if said is None:
        return
    outcome = _load(wire.unpack_once(said), load, lambda doing: connection.sendall(wire.pack_once(doing)))
    if not isinstance(outcome, LoadedModel):
        connection.sendall(wire.pack_once(outcome))
        return
    lanes = LaneThreads(outcome.backend, outcome.threads)
    connection.sendall(wire.pack_once(_ready(outcome)))
    answering = threading.Lock()

    def answer(number: int) -> Callable[[Any], None]:
        def send(result: Any) -> None:
            payload = wire.pack_answer(number, result)
            with answering:
                connection.sendall(payload)

        return send

    while (request := wire.receive(connection)) is not None:
        number, lane, task, batch = wire.unpack_request(request)
        lanes.submit(lane, task, batch, answer(number))


def _load(settings: EmbeddingSettings, load: Load, progress: Callable[[str], None]) -> LoadedModel | ModelError:
    try:
        return load(settings, progress)
    except ModelError as exc:
        return exc
    except Exception as exc:  # a library's bug, or memory: whoever asks is told, the log has the rest
        _log.exception("model failed to load", extra={"model": settings.embedding_model})
        return ModelError(f"{type(exc).__name__} while loading model {settings.embedding_model!r}; the log has more")


def _ready(model: LoadedModel) -> Ready:
    backend = model.backend
    facts = (model.spec, backend.name, backend.dim, backend.tasks, model.threads)
    return Ready(*facts, dtype=model.dtype, details=model.details)


def _be_the_first_to_go() -> None:
    """Where memory runs out, the kernel ends this process and not the service, which starts another."""
    with contextlib.suppress(OSError):  # Linux only
        Path("/proc/self/oom_score_adj").write_text("500")


def main() -> None:
    """`python -m embedding_service.engine.worker FD LEVEL`: this end of the socket pair, and the log's level."""
    # Ctrl-C and a stop of the whole group are the service's to act on: it lets what is in work end, then hangs up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _be_the_first_to_go()
    configure_logging("embedding_service", sys.argv[2])
    # A ConnectionError: the service was killed.
    with socket.socket(fileno=int(sys.argv[1])) as connection, contextlib.suppress(ConnectionError):
        work(connection)
    # Without waiting for a batch that nobody will ever read.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
