"""The fast and weak backend: a table of rows distilled from the model on this machine. It runs no model.

It is there so that an index answers by meaning within seconds while the real vectors follow. Its vectors are not the
model's: they have an identity of their own, and fill a vector of their own.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedding_service.backends.base import Backend, BackendFailed, Batch, ModelError, Task, Vectors
from embedding_service.backends.static_corpus import sources_sha256, stdlib_sources
from embedding_service.backends.static_distil import RECIPE, Array, Progress, distil, pool
from embedding_service.backends.tokenizer import load_tokenizer
from embedding_service.backends.whole_folder import content_key, write_whole
from embedding_service.core.model import ModelSpec, identity

_log = logging.getLogger("embedding_service.static")

# A table has no window. 512 tokens are the longest chunk that anyone indexes, and tokenising is all that they cost.
MAX_TOKENS = 512

_FILE = "table.npy"


class StaticBackend:
    """A table in memory that is shared with all processes that map it."""

    name = "static"
    tasks: frozenset[Task] = frozenset({"embed"})

    def __init__(self, table: Array):
        """table: (vocab_size, dim), as distil() gives it."""
        self._table = table
        self.dim = table.shape[1]

    def run(self, task: Task, batch: Batch) -> Vectors:
        """Rows of float32; see Backend.run."""
        rows = len(self._table)
        if any(min(ids) < 0 or max(ids) >= rows for ids in batch.ids):
            raise BackendFailed(f"static failed on {len(batch.ids)} texts: a token id is outside of its {rows} rows")
        return pool(self._table, batch.ids)


def load_static(
    spec: ModelSpec,
    load_teacher: Callable[[], Backend],
    cache: Path,
    progress: Progress | None = None,
    limit: int | None = None,
) -> tuple[ModelSpec, StaticBackend]:
    """The table of the model of `spec`, distilled first where it is not there, and what the table is as a model.

    load_teacher: gives a backend that runs the model, called only to distil. cache: folder of tables, created at need.
    progress: told what is being done; the log is where it is None. limit: as in distil().
    Fails with ModelError, and with what load_teacher and the teacher raise.
    """
    sources = stdlib_sources()
    key = content_key([RECIPE, identity(spec, 0), sources_sha256(sources), limit])
    folder = cache / key
    if not (folder / _FILE).exists():
        write_whole(folder, lambda whole: _write(spec, load_teacher(), sources, whole, progress or _say, limit))
    try:
        table: Array = np.load(folder / _FILE, mmap_mode="r")
    except (OSError, ValueError) as exc:
        raise ModelError(f"{folder / _FILE} is unreadable ({exc}); remove it, and it is distilled anew") from exc
    # What np.memmap adds to each slice costs more than the slice; the pages stay shared.
    return table_spec(spec, key), StaticBackend(table.view(np.ndarray))


def table_spec(spec: ModelSpec, key: str) -> ModelSpec:
    """The table as a model of its own: `key`, of all that it was made of, takes the place of the weights' digest."""
    return replace(spec, digest=key, max_tokens=MAX_TOKENS, pooling="mean", modules=("StaticEmbedding",))


def _say(doing: str) -> None:
    _log.info(doing)


def _write(
    spec: ModelSpec, teacher: Backend, sources: list[str], folder: Path, progress: Progress, limit: int | None
) -> None:
    started = time.perf_counter()
    table = distil(teacher, load_tokenizer(spec), spec.vocab_size, sources, progress, limit)
    np.save(folder / _FILE, table)
    took_s = round(time.perf_counter() - started, 1)
    _log.info("table distilled", extra={"model": spec.name, "rows": len(table), "took_s": took_s})
