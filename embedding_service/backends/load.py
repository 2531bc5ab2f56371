"""Loads the configured model by the backend that can run it."""

import logging
import time
from dataclasses import dataclass, replace

from embedding_service.backends.base import MAIN_TASK, Backend, ModelError, UnsupportedModel
from embedding_service.backends.folder import read_spec
from embedding_service.backends.onnx_runtime import load_onnx
from embedding_service.backends.resolve import resolve
from embedding_service.backends.sentence_transformer import load_sentence_transformers
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
    spec = _prompted(read_spec(resolve(settings.embedding_model), settings.pooling or ""), settings)
    loaded = LoadedModel(spec, load_tokenizer(spec), _backend(spec, settings))
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
    threads = settings.embedding_threads
    if settings.embedding_backend != "sentence_transformers":
        try:
            return load_onnx(spec, settings.data_dir / "onnx", threads)
        except UnsupportedModel as exc:
            if settings.embedding_backend == "onnx":
                raise
            _log.info("onnx cannot run it", extra={"detail": str(exc)})
    return load_sentence_transformers(spec, threads)
