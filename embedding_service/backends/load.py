"""Loads the configured model by the backend that can run it."""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from embedding_service.backends.base import MAIN_TASK, Backend, ModelError, UnsupportedModel
from embedding_service.backends.folder import read_spec
from embedding_service.backends.onnx_runtime import OnnxBackend, load_onnx
from embedding_service.backends.resolve import resolve
from embedding_service.backends.sentence_transformer import TorchBackend, load_sentence_transformers
from embedding_service.backends.static_distil import Progress
from embedding_service.backends.static_load import load_static
from embedding_service.backends.tokenizer import TextTokenizer, load_tokenizer
from embedding_service.core.model import FULL_PRECISION, ModelSpec
from embedding_service.core.settings import EmbeddingSettings

_log = logging.getLogger("embedding_service.load")

# Of torch only: ONNX Runtime has no half precision on a CPU.
_HALF = ("float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to run. threads: batches that its backend runs well at the same time.

    dtype: of its arithmetic, as core.model.identity takes it. details: what it tells of itself in /info.
    """

    spec: ModelSpec
    tokenizer: TextTokenizer
    backend: Backend
    threads: int
    dtype: str = FULL_PRECISION
    details: Mapping[str, Any] = field(default_factory=dict)


def load_model(settings: EmbeddingSettings, progress: Progress | None = None) -> LoadedModel:
    """Resolve, read and load the model: seconds of work, so never on the event loop. Fails with ModelError.

    progress: told, in words, what takes longer than a few seconds.
    """
    started = time.perf_counter()
    spec = _prompted(read_spec(resolve(settings.embedding_model), settings.pooling or ""), settings)
    threads = settings.embedding_threads or _cores()
    backend: Backend
    if settings.embedding_backend == "static":
        if settings.dtype != FULL_PRECISION:
            raise ModelError(f"DTYPE={settings.dtype} is not of the static backend; unset DTYPE or EMBEDDING_BACKEND")
        teacher_of = spec

        def teacher() -> Backend:
            return _backend(teacher_of, settings)

        spec, backend = load_static(spec, teacher, settings.data_dir / "static", threads, progress)
    else:
        backend = _backend(spec, settings)
    details = backend.details if isinstance(backend, OnnxBackend) else {}
    if isinstance(backend, TorchBackend) and backend.device != "cpu":
        # One batch fills a GPU, and the lanes' own threads keep it fed.
        threads, details = settings.embedding_threads or 1, {"device": backend.device}
    loaded = LoadedModel(spec, load_tokenizer(spec), backend, threads, settings.dtype, details)
    # Ready means that it has embedded: what a first inference sets up, or breaks, belongs to the start.
    loaded.backend.run(MAIN_TASK[spec.kind], loaded.tokenizer.encode_pairs([["ready"]], "right"))
    took_s = round(time.perf_counter() - started, 2)
    _log.info("model loaded", extra={"model": spec.name, "backend": loaded.backend.name, "took_s": took_s})
    return loaded


def _prompted(spec: ModelSpec, settings: EmbeddingSettings) -> ModelSpec:
    """The specification with the default prompt of the settings, where they have one; the model's own otherwise."""
    name = settings.default_prompt_name
    if name and name not in spec.prompts:
        known = ", ".join(sorted(spec.prompts)) or "none"
        raise ModelError(f"DEFAULT_PROMPT_NAME is {name!r}, which is not a prompt of the model; it has: {known}")
    prompt = spec.prompts[name] if name else settings.default_prompt
    return spec if prompt is None else replace(spec, default_prompt=prompt)


def _backend(spec: ModelSpec, settings: EmbeddingSettings) -> Backend:
    wanted, dtype = settings.embedding_backend, settings.dtype
    if wanted == "onnx" and dtype in _HALF:
        raise ModelError(f"DTYPE={dtype} needs EMBEDDING_BACKEND=sentence_transformers; unset one of the two")
    if wanted != "sentence_transformers" and dtype not in _HALF:
        try:
            return load_onnx(spec, settings.data_dir / "onnx", dtype)
        except UnsupportedModel as exc:
            if wanted == "onnx":
                raise
            if dtype == "int8":
                raise ModelError(f"DTYPE=int8 is of the onnx backend only, and {exc}; unset DTYPE") from exc
            _log.info("onnx cannot run it", extra={"detail": str(exc)})
    if dtype == "int8":
        raise ModelError("DTYPE=int8 is of the onnx backend only; unset DTYPE or EMBEDDING_BACKEND")
    return load_sentence_transformers(spec, dtype)


def _cores() -> int:
    """Those that this process may use; macOS does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
