"""What is known of a model before it runs: its window, its pooling, its identity. Plain values."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# Vectors of full-precision backends agree within 1e-4 a component, so all of them share this word in the identity.
FULL_PRECISION = "float32"

# How int8 vectors come about, by a word that changes whenever they do: it is part of their identity.
INT8_METHOD = "fixed scales, rows scaled after GELU (1)"
# What a model is for. A reranker is a classifier with one label, as in TEI.
Kind = Literal["embedding", "splade", "classifier", "reranker"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A SentenceTransformers folder, read and not yet loaded.

    name: as configured. revision: the hub's commit, None for a folder. max_tokens: the window, special tokens included.
    pooling: "mean", "cls", ... or "" where the folder does not say. modules: class names in order, e.g. "Transformer".
    config: the transformer's config.json. prompts: by name, put before a text.
    digest: hex SHA-256 of weights and tokenizer. lower_case: texts are lower-cased before they are tokenised.
    id2label, label2id: of a classifier or reranker, as its config.json has them; empty for others.
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
    kind: Kind = "embedding"
    id2label: Mapping[str, str] = field(default_factory=dict)
    label2id: Mapping[str, int] = field(default_factory=dict)

    @property
    def vocab_size(self) -> int:
        """Token ids are in [0, vocab_size)."""
        return int(self.config["vocab_size"])

    @property
    def pad_id(self) -> int:
        """The token id that fills a batch up; RoBERTa counts positions by it, so it is the model's own."""
        return int(self.config.get("pad_token_id") or 0)


# What of config.json decides a vector beside the weights. The rest (versions, names, dropout) changes from one save to
# the next, and an index must not be thrown away for it.
_DECIDING = ("architectures", "num_attention_heads", "hidden_act", "layer_norm_eps", "position_embedding_type")


def identity(spec: ModelSpec, dim: int, dtype: str = FULL_PRECISION) -> str:
    """Hex SHA-256 of what decides a vector: weights and tokenizer, how they are used, dtype, pooling, window, prompt.

    dtype: as in the setting DTYPE.
    Vectors of two identities must never be compared. Left out on purpose: the backend, since onnx and
    sentence_transformers at full precision agree within 1e-4 a component and may search each other's index; and the
    name, since the same weights from a folder, a package or the hub give the same vectors.
    """
    parts = {
        "digest": spec.digest,
        "config": {name: spec.config.get(name) for name in _DECIDING},
        "dtype": f"{dtype}: {INT8_METHOD}" if dtype == "int8" else dtype,
        "pooling": spec.pooling,
        "modules": spec.modules,
        "max_tokens": spec.max_tokens,
        "lower_case": spec.lower_case,
        "dim": dim,
        "prompt": spec.default_prompt or "",
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
