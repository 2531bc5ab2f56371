"""The one contract of all backends, and how their failures are called."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service_kit.errors import Upstream

Vectors = NDArray[np.float32]
TokenIds = Sequence[int]


class BackendFailed(Upstream):
    """The model library failed on a batch that we let through. 424, as TEI answers it."""

    status = 424


class ModelError(Exception):
    """The model cannot be loaded. Its text says what to do; /readyz and the log show it."""


class UnsupportedModel(ModelError):
    """This backend cannot run this model; another may."""


class Backend(Protocol):
    """Runs a model on token ids. Called from one thread at a time, never from the event loop."""

    @property
    def name(self) -> str:
        """As in EMBEDDING_BACKEND."""
        ...

    @property
    def dim(self) -> int:
        """Components of a vector."""
        ...

    def embed(self, batch: Sequence[TokenIds]) -> Vectors:
        """Pooled vectors of a batch, before normalisation, as TEI's `normalize: false` wants them.

        batch: n sequences of token ids, special tokens included, each of 1 to max_tokens ids in [0, vocab_size).
        Returns (n, dim) float32, row i for sequence i. Fails with BackendFailed.
        """
        ...


def pad(batch: Sequence[TokenIds], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Sequences as one array, padded on the right: ids (n, longest) int64 and lengths (n,) int32."""
    lengths = np.fromiter((len(ids) for ids in batch), np.int32, len(batch))
    padded = np.full((len(batch), int(lengths.max())), pad_id, np.int64)
    for row, ids in zip(padded, batch, strict=True):
        row[: len(ids)] = ids
    return padded, lengths
