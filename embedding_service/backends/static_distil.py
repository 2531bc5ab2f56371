"""Distils a model into a table: a row for each token of its vocabulary, so that a text is a sum of rows.

Source: Model2Vec (Tulkens & van Dongen 2024) for embedding the vocabulary alone; Arora et al. 2017 (SIF) for weights
from frequencies and for taking the common directions out. Both are fitted to code here: frequencies are counted on
real sources and not taken from a token's rank in the vocabulary, which is a rank in English prose.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from embedding_service.backends.base import Backend, Batch, TokenIds
from embedding_service.backends.static_corpus import chunks_of
from embedding_service.backends.tokenizer import TextTokenizer

Array = NDArray[np.float32]
Progress = Callable[[str], None]

# Raise it whenever a table comes out differently: it is part of a table's name and of its identity.
RECIPE = 1

# SIF's a: a token of this share of all tokens weighs half of a rare one. Of 3e-5 to 1e-2 the best for both test sets.
_HALF_WEIGHT_SHARE = 1e-3

# Directions that all texts share ("this is Python code") and that say nothing about which text it is. 5 to 10 are
# alike; 1 to 3 leave a tenth of the gain.
_COMMON_DIRECTIONS = 5
_COMMON_FROM_CHUNKS = 4000

# A text without a word has only the special tokens: so small a weight matters nowhere else, and it has a direction.
_SPECIAL_WEIGHT = 1e-6

# One sequence is 3 tokens; larger batches are no faster, and 1,024 padded tokens are what the teacher is used to.
_VOCABULARY_BATCH = 340


def distil(
    teacher: Backend,
    tokenizer: TextTokenizer,
    vocab_size: int,
    sources: Sequence[str],
    progress: Progress = lambda _: None,
    limit: int | None = None,
) -> Array:
    """The table (vocab_size, dim) float32 of a model, its weights multiplied into the rows.

    sources: code to count tokens on; without any, all tokens weigh the same. progress: told what is being done.
    limit: distil only the first so many tokens, for tests; the others' rows are 0.
    Fails with BackendFailed where the teacher does. 25 CPU-seconds for 30,522 tokens of the default model.
    """
    rows = _rows(teacher, tokenizer, min(vocab_size, limit or vocab_size), progress)
    progress("counting tokens on the standard library's sources")
    texts = [np.array(ids[1:-1], np.int64) for ids in tokenizer.encode(chunks_of(sources), None)]
    texts = [ids[ids < len(rows)] for ids in texts]
    weights = _weights(texts, len(rows))
    weights[list(special_ids(tokenizer))] = _SPECIAL_WEIGHT
    rows -= rows.mean(axis=0)
    table = np.zeros((vocab_size, rows.shape[1]), np.float32)
    table[: len(rows)] = _without_common(rows * weights[:, None], texts)
    return table


def special_ids(tokenizer: TextTokenizer) -> frozenset[int]:
    """The tokens that the tokenizer puts around every text."""
    (empty,) = tokenizer.encode([""], None)
    return frozenset(empty)


def pool(table: Array, ids: Sequence[TokenIds]) -> Array:
    """(n, dim): for each sequence the sum of its tokens' rows, each times the root of how often it occurs.

    The root, since a name that stands twenty times in a function does not say twenty times as much: MRR@10 .36 for
    .35 and .31 for .27 on the two test sets.
    """
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    flat = np.fromiter((token for sequence in ids for token in sequence), np.int64, int(lengths.sum()))
    # One sort for the batch, by (sequence, token).
    keys, counts = np.unique(np.repeat(np.arange(len(ids)), lengths) * len(table) + flat, return_counts=True)
    tokens, factors = keys % len(table), np.sqrt(counts, dtype=np.float32)
    ends = np.searchsorted(keys, np.arange(1, len(ids) + 1) * len(table))
    pooled = np.zeros((len(ids), table.shape[1]), np.float32)
    start = 0
    # A vector times a matrix for each text: the rows of one text fit into the cache. 95,000 texts of 190 tokens a
    # CPU-second without the sort, where np.add.reduceat over the batch's rows does 9,000 and a sum by text 60,000.
    for row, end in zip(pooled, ends.tolist(), strict=True):
        np.dot(factors[start:end], table[tokens[start:end]], out=row)
        start = end
    return pooled


def _rows(teacher: Backend, tokenizer: TextTokenizer, count: int, progress: Progress) -> Array:
    """Each token alone between the special tokens, through the teacher: (count, dim)."""
    first, *_, last = tokenizer.encode([""], None)[0]
    rows = np.empty((count, teacher.dim), np.float32)
    for start in range(0, count, _VOCABULARY_BATCH):
        stop = min(start + _VOCABULARY_BATCH, count)
        rows[start:stop] = teacher.run("embed", Batch([[first, token, last] for token in range(start, stop)]))
        progress(f"distilling: {stop} of {count} tokens")
    return rows


def _weights(texts: Sequence[NDArray[np.int64]], size: int) -> Array:
    counts = np.bincount(np.concatenate([np.empty(0, np.int64), *texts]), minlength=size)
    shares = counts / max(int(counts.sum()), 1)
    weights: Array = (_HALF_WEIGHT_SHARE / (_HALF_WEIGHT_SHARE + shares)).astype(np.float32)
    return weights


def _without_common(table: Array, texts: Sequence[NDArray[np.int64]]) -> Array:
    """The table without the directions that the texts' vectors have in common: their first principal components."""
    step = max(1, len(texts) // _COMMON_FROM_CHUNKS)
    sample = [ids.tolist() for ids in texts[::step] if len(ids)]
    if len(sample) < _COMMON_DIRECTIONS:
        return table
    vectors = pool(table, sample)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    _, directions = np.linalg.eigh(vectors.T @ vectors)  # (dim, dim), the largest last
    common = directions[:, -_COMMON_DIRECTIONS:]
    without: Array = table - (table @ common) @ common.T
    return without
