"""Loads the configured model by the backend that can run it."""

import logging
import os
import time
from dataclasses import dataclass

from embedding_service.backends.base import Backend, Batch, UnsupportedModel
from embedding_service.backends.folder import read_spec
from embedding_service.backends.onnx_runtime import load_onnx
from embedding_service.backends.resolve import resolve
from embedding_service.backends.sentence_transformer import load_sentence_transformers
from embedding_service.backends.static_load import load_static
from embedding_service.backends.tokenizer import TextTokenizer, load_tokenizer
from embedding_service.core.model import ModelSpec
from embedding_service.core.settings import EmbeddingSettings

_log = logging.getLogger("embedding_service.load")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to run."""

    spec: ModelSpec
    tokenizer: TextTokenizer
    backend: Backend


def load_model(settings: EmbeddingSettings) -> LoadedModel:
    """Resolve, read and load the model: seconds of work, so never on the event loop. Fails with ModelError."""
    started = time.perf_counter()
    spec = read_spec(resolve(settings.embedding_model))
    backend: Backend
    if settings.embedding_backend == "static":
        spec, backend = _static(spec, settings)
    else:
        backend = _backend(spec, settings)
    loaded = LoadedModel(spec, load_tokenizer(spec), backend)
    # Ready means that it has embedded: what a first inference sets up, or breaks, belongs to the start.
    loaded.backend.run("embed", Batch(loaded.tokenizer.encode(["ready"], "right")))
    took_s = round(time.perf_counter() - started, 2)
    _log.info("model loaded", extra={"model": spec.name, "backend": loaded.backend.name, "took_s": took_s})
    return loaded


def _static(spec: ModelSpec, settings: EmbeddingSettings) -> tuple[ModelSpec, Backend]:
    """The table, and the teacher that it is distilled from by whichever backend can run it."""
    return load_static(spec, lambda: _backend(spec, settings), settings.data_dir / "static", _threads(settings))


def _threads(settings: EmbeddingSettings) -> int:
    return settings.embedding_threads or os.cpu_count() or 1


def _backend(spec: ModelSpec, settings: EmbeddingSettings) -> Backend:
    threads = settings.embedding_threads
    if settings.embedding_backend != "sentence_transformers":
        try:
            return load_onnx(spec, settings.data_dir / "onnx", threads)
        except UnsupportedModel as exc:
            if settings.embedding_backend == "onnx":
                raise
            _log.info("onnx cannot run it", extra={"detail": str(exc)})
    return load_sentence_transformers(spec, threads)
