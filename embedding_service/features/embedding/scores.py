"""Logits to scores and their order, vectors to similarities, weights to sparse lists. Values in, values out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedding_service.backends.base import BackendFailed, Vectors


def activated(logits: Vectors) -> Vectors:
    """Probabilities, (n, labels) as the logits: a sigmoid for one label, a softmax for several, as TEI."""
    with np.errstate(over="ignore"):  # exp of a very low logit is infinite, and the sigmoid rightly 0
        if logits.shape[1] == 1:
            return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def best_first(scores: Vectors) -> NDArray[np.intp]:
    """Indexes of `scores` (n,), highest first; of equal ones the last first, which is TEI's order.

    Fails with BackendFailed where one is not a number.
    """
    if np.isnan(scores).any():
        raise BackendFailed("score is NaN")
    return np.argsort(scores, kind="stable")[::-1]


def predictions(scores: Vectors, id2label: Mapping[str, str]) -> list[list[dict[str, Any]]]:
    """For each row of scores (n, labels) its labels, best first."""
    return [
        [{"score": float(row[index]), "label": id2label[str(index)]} for index in best_first(row)] for row in scores
    ]


def ranks(scores: Vectors, texts: Sequence[str] | None) -> list[dict[str, Any]]:
    """Scores (n,) as TEI's ranks, best first. texts: (n,), where they are to be told."""
    ranked = []
    for index in best_first(scores):
        text = {} if texts is None else {"text": texts[index]}
        ranked.append({"index": int(index), **text, "score": float(scores[index])})
    return ranked


def similarities(vectors: Vectors) -> list[float]:
    """The cosine of the first of (n, dim) vectors with each other one; 0 beside an all-zero vector."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.maximum(lengths, 1e-12)
    found: list[float] = (units[1:] @ units[0]).tolist()
    return found


def sparse(weights: Vectors) -> list[list[dict[str, Any]]]:
    """For each row of (n, vocab_size) the token ids with a weight, in order."""
    rows = []
    for row in weights:
        indexes = np.flatnonzero(row)
        pairs = zip(indexes.tolist(), row[indexes].tolist(), strict=True)
        rows.append([{"index": index, "value": value} for index, value in pairs])
    return rows
