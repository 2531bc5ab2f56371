"""Finds the table of a model under DATA_DIR, or has it distilled."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedding_service.backends.base import Backend, ModelError
from embedding_service.backends.static_corpus import sources_sha256, stdlib_sources
from embedding_service.backends.static_distil import RECIPE, Progress, Teacher, distil
from embedding_service.backends.static_table import Array, StaticBackend
from embedding_service.backends.tokenizer import load_tokenizer
from embedding_service.backends.whole_folder import content_key, write_whole
from embedding_service.core.model import ModelSpec, identity

_log = logging.getLogger("embedding_service.static")

# A table has no window: a longer text costs its tokenising only. Twice the default model's, and longer than its chunks.
MAX_TOKENS = 512

_FILE = "table.npy"


def load_static(
    spec: ModelSpec,
    load_teacher: Callable[[], Backend],
    cache: Path,
    threads: int = 1,
    progress: Progress | None = None,
    limit: int | None = None,
) -> tuple[ModelSpec, StaticBackend]:
    """The table of the model of `spec`, distilled first where it is not there, and what the table is as a model.

    load_teacher: gives a backend that runs the model, called only to distil. cache: folder of tables, created at need.
    threads: of distilling. progress: told what is being done, with the log. limit: as in distil().
    Fails with ModelError, and with what load_teacher and the teacher raise.
    """
    sources = stdlib_sources()
    # Not of the table's bytes: two machines with one Python differ in the last bits of the same table.
    key = content_key([RECIPE, identity(spec, 0), sources_sha256(sources), limit])
    file = cache / key / _FILE

    def say(doing: str) -> None:
        _log.info(doing)
        if progress is not None:
            progress(doing)

    def write(folder: Path) -> None:
        started = time.perf_counter()
        teacher = Teacher(load_teacher(), load_tokenizer(spec), spec.vocab_size, threads)
        np.save(folder / _FILE, distil(teacher, sources, say, limit))
        _log.info("table distilled", extra={"model": spec.name, "took_s": round(time.perf_counter() - started, 1)})

    if not file.exists():
        write_whole(file.parent, write)
    try:
        table: Array = np.load(file, mmap_mode="r")
    except (OSError, ValueError) as exc:
        raise ModelError(f"{file} is unreadable ({exc}); remove it, and it is distilled anew") from exc
    # What np.memmap adds to each slice costs more than the slice; the pages stay shared.
    return _as_model(spec, key), StaticBackend(table.view(np.ndarray))


def _as_model(spec: ModelSpec, key: str) -> ModelSpec:
    """The table as a model of its own: `key`, of all that it was made of, takes the place of the weights' digest."""
    return replace(spec, digest=key, max_tokens=MAX_TOKENS, pooling="mean", modules=("StaticEmbedding",))
