"""What is known of a model before it runs: its window, its pooling, its identity. Plain values."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Vectors of full-precision backends agree within 1e-4 a component, so all of them share this word in the identity.
FULL_PRECISION = "float32"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A SentenceTransformers folder, read and not yet loaded.

    name: as configured. revision: the hub's commit, None for a folder. max_tokens: the window, special tokens included.
    pooling: "mean", "cls", ... or "" where the folder does not say. modules: class names in order, e.g. "Transformer".
    config: the transformer's config.json. prompts: by name, put before a text.
    digest: hex SHA-256 of weights and tokenizer. lower_case: texts are lower-cased before they are tokenised.
    """

    name: str
    folder: Path
    revision: str | None
    max_tokens: int
    pooling: str
    modules: tuple[str, ...]
    config: Mapping[str, Any]
    digest: str
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None

    @property
    def vocab_size(self) -> int:
        """Token ids are in [0, vocab_size)."""
        return int(self.config["vocab_size"])

    @property
    def pad_id(self) -> int:
        """The token id that fills a batch up; RoBERTa counts positions by it, so it is the model's own."""
        return int(self.config.get("pad_token_id") or 0)


def identity(spec: ModelSpec, dim: int, dtype: str = FULL_PRECISION) -> str:
    """Hex SHA-256 of what decides a vector: name, weights and tokenizer, dtype, pooling, window, dim, default prompt.

    Vectors of two identities must never be compared. The backend is not in it: onnx and sentence_transformers at full
    precision agree within 1e-4 a component, so that an index built with one is searched with the other.
    """
    parts = {
        "name": spec.name,
        "digest": spec.digest,
        "dtype": dtype,
        "pooling": spec.pooling,
        "modules": spec.modules,
        "max_tokens": spec.max_tokens,
        "dim": dim,
        "prompt": spec.default_prompt or "",
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
