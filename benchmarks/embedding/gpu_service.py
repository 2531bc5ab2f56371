"""The service's own backend as ways to run the default model, to be compared with those that it might use."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from benchmarks.embedding.bert import Bert
from benchmarks.embedding.variants import Batch, Run, Variant
from embedding_service.backends import base
from embedding_service.backends.folder import read_spec
from embedding_service.backends.resolve import resolve
from embedding_service.backends.sentence_transformer import load_sentence_transformers
from embedding_service.core.settings import Dtype

_DTYPES: Sequence[Dtype] = ("float32", "float16", "bfloat16")


def service_variants(folder: Path) -> list[Variant]:
    """EMBEDDING_BACKEND=sentence_transformers with each DTYPE. folder: the model's."""
    return [Variant(f"service {dtype}", getattr(torch, dtype), _builder(folder, dtype)) for dtype in _DTYPES]


def _builder(folder: Path, dtype: Dtype) -> Callable[[Bert], Run]:
    def build(_: Bert) -> Run:
        backend = load_sentence_transformers(read_spec(resolve(str(folder))), dtype)

        def run(batch: Batch) -> torch.Tensor:
            # As lists of int, as they come to the worker; tolist() takes 1.5 us a text.
            vectors = backend.run("embed", base.Batch([np.asarray(ids).tolist() for ids in batch]))
            return functional.normalize(torch.from_numpy(vectors), dim=1)

        return run

    return build
