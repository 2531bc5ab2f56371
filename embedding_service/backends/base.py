"""The one contract of all backends, and how their failures are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from embedding_service.core.model import Kind
from service_kit.errors import Upstream

Vectors = NDArray[np.float32]
TokenIds = Sequence[int]

# What a model may be asked for; the words are TEI's routes. Which of them it can do is the backend's `tasks`.
Task = Literal["embed", "embed_all", "embed_sparse", "predict"]

# What a model of each kind is for; its backend can do this at least.
MAIN_TASK: Mapping[Kind, Task] = {
    "embedding": "embed",
    "splade": "embed_sparse",
    "classifier": "predict",
    "reranker": "predict",
}


@dataclass(frozen=True, slots=True)
class Batch:
    """n sequences of token ids, special tokens included, each of 1 to max_tokens ids in [0, vocab_size).

    second: where the second text of a pair begins in each sequence, by its token type, which is 1 from there on; the
    sequence's length where it has no second one. None: no pairs.
    """

    ids: Sequence[TokenIds]
    second: Sequence[int] | None = None


class BackendFailed(Upstream):
    """The model library failed on a batch that we let through. 424, as TEI answers it."""

    status = 424


class ModelError(Exception):
    """The model cannot be loaded. Its text says what to do; /readyz and the log show it."""


class UnsupportedModel(ModelError):
    """This backend cannot run this model; another may."""


class Backend(Protocol):
    """Runs a model on token ids. Never called from the event loop; may be called from several threads at once."""

    @property
    def name(self) -> str:
        """As in EMBEDDING_BACKEND."""
        ...

    @property
    def dim(self) -> int:
        """Components of a row of what run() returns."""
        ...

    @property
    def tasks(self) -> frozenset[Task]:
        """What run() can be asked for."""
        ...

    def run(self, task: Task, batch: Batch) -> Vectors:
        """Do one task of `tasks` for a batch; row i belongs to sequence i, in float32.

        embed: (n, dim), pooled vectors before normalisation, as TEI's `normalize: false` wants them.
        embed_all: (sum of lengths, dim), the vector of each token, before pooling, one sequence after the other.
        embed_sparse: (n, vocab_size), the weight of each token of the vocabulary, mostly 0.
        predict: (n, labels), raw logits.
        Fails with BackendFailed.
        """
        ...


def pad(batch: Sequence[TokenIds], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Sequences as one array, padded on the right: ids (n, longest) int64 and lengths (n,) int32."""
    lengths = np.fromiter((len(ids) for ids in batch), np.int32, len(batch))
    padded = np.full((len(batch), int(lengths.max())), pad_id, np.int64)
    for row, ids in zip(padded, batch, strict=True):
        row[: len(ids)] = ids
    return padded, lengths


def token_rows(hidden: NDArray[np.float32], lengths: NDArray[np.int32]) -> Vectors:
    """(n, longest, dim) -> (sum of lengths, dim): the rows of real tokens, one sequence after the other."""
    rows: Vectors = hidden[np.arange(hidden.shape[1]) < lengths[:, None]]
    return rows
