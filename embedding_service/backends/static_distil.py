"""Distils a model into a table: a row for each token of its vocabulary, so that a text is a sum of rows.

Sources: Model2Vec (Tulkens & van Dongen 2024) for embedding each token of the vocabulary alone; Arora et al. 2017 (SIF)
for weights from frequencies and for taking out what all texts share. Beyond them the table is fitted to code: the
frequencies are counted on real sources (a token's rank in the vocabulary is a rank in English prose), and a ridge
regression moves the rows so that the sums come near the model's own vectors of a few thousand pieces of code.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import numpy as np

from embedding_service.backends.base import Backend, Batch, TokenIds
from embedding_service.backends.static_corpus import Source, chunks_of, is_held_out
from embedding_service.backends.static_table import Array, pool
from embedding_service.backends.tokenizer import TextTokenizer

Progress = Callable[[str], None]

# Raise it whenever a table comes out differently: it is part of a table's name and of its identity.
RECIPE = 1

# SIF's a: a token of this share of all tokens weighs half of a rare one. The best of 3e-5 to 1e-2.
_HALF_WEIGHT_SHARE = 1e-3

# Directions that all texts share ("this is Python") and that do not tell them apart: 2 to 12 are alike once the rows
# are fitted; without the fit 5 gave MRR@10 .36 for .30.
_COMMON_DIRECTIONS = 5

# All token ids of the sources at once, as Python's integers, are 110 MB.
_COUNTED_AT_ONCE = 512

# Lines of a piece of code: for counting, and to fit to (100 tokens in the mean; cut at 128 for the few long ones).
_COUNTED_LINES = 20
_FITTED_LINES = 10
_FITTED_TOKENS = 128

# The model's vectors of 2,000 to 8,000 pieces gave the same quality within .01, and are most of the cost.
_FITTED_PIECES = 2500

# Ridge, as a share of the features' mean square. 1 to 6 are alike, 12 is worse.
_RIDGE = 3.0

# A text without a word has only the special tokens: so small a weight matters nowhere else, and it has a direction.
_SPECIAL_WEIGHT = 1e-6

# Padded tokens of one of the teacher's batches, as MAX_BATCH_TOKENS is by default.
_BATCH_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Teacher:
    """The model to distil. threads: inferences that run at the same time."""

    backend: Backend
    tokenizer: TextTokenizer
    vocab_size: int
    threads: int


def distil(
    teacher: Teacher, sources: Sequence[Source], progress: Progress = lambda _: None, limit: int | None = None
) -> Array:
    """The table (vocab_size, dim) float32 of a model, its weights multiplied into the rows.

    sources: code to count tokens on and to fit to; without any, all tokens weigh the same and nothing is fitted.
    progress: told what is being done. limit: distil only the first so many tokens and from a twentieth of the files,
    for tests; the others' rows are what the fit makes of 0. Fails with BackendFailed where the teacher does.
    """
    sources = sources if limit is None else sources[::20]
    count = min(teacher.vocab_size, limit or teacher.vocab_size)
    rows = _vocabulary(teacher, count, progress)
    progress("distilling: counting tokens")
    weights = _weights(teacher, chunks_of(sources, _COUNTED_LINES))
    weights[teacher.tokenizer.encode([""], None)[0]] = _SPECIAL_WEIGHT
    table = np.zeros((teacher.vocab_size, rows.shape[1]), np.float32)
    table[:count] = (rows - rows.mean(axis=0)) * weights[:count, None]
    pieces = _pieces(teacher.tokenizer, sources, _FITTED_PIECES if limit is None else _FITTED_PIECES // 20)
    if len(pieces) <= _COMMON_DIRECTIONS:
        return table
    targets = _unit(_embed(teacher, pieces, lambda done: progress(f"distilling: {done} of {len(pieces)} texts")))
    progress("distilling: fitting the table")
    return _fitted(_without_common(table, pool(table, pieces)), weights, pieces, targets)


def _vocabulary(teacher: Teacher, count: int, progress: Progress) -> Array:
    """Each token alone between the special tokens, through the teacher: (count, dim)."""
    first, *_, last = teacher.tokenizer.encode([""], None)[0]
    alone = [[first, token, last] for token in range(count)]
    return _embed(teacher, alone, lambda done: progress(f"distilling: {done} of {count} tokens"))


def _pieces(tokenizer: TextTokenizer, sources: Sequence[Source], most: int) -> list[TokenIds]:
    """At most so many pieces of code, evenly from the sources that are not held out, as token ids."""
    texts = chunks_of((source for source in sources if not is_held_out(source.path)), _FITTED_LINES)
    texts = texts[:: max(1, len(texts) // most)][:most]
    return [ids[:_FITTED_TOKENS] for ids in tokenizer.encode(texts, None)]


def _embed(teacher: Teacher, ids: Sequence[TokenIds], done: Callable[[int], None]) -> Array:
    """The teacher's vectors (n, dim), in batches of texts of like length. done: told how many there are so far."""
    vectors = np.empty((len(ids), teacher.backend.dim), np.float32)
    batches = list(_batches([len(sequence) for sequence in ids]))

    def run(batch: list[int]) -> int:
        vectors[batch] = teacher.backend.run("embed", Batch([ids[index] for index in batch]))
        return len(batch)

    so_far, told = 0, 0
    with ThreadPoolExecutor(teacher.threads, thread_name_prefix="distil") as pool_:
        for count in pool_.map(run, batches):
            so_far += count
            if so_far * 10 // len(ids) > told:  # ten times in all
                told = so_far * 10 // len(ids)
                done(so_far)
    return vectors


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    yield batch


def _weights(teacher: Teacher, texts: Sequence[str]) -> Array:
    """SIF's weight of each token: a / (a + its share of all tokens)."""
    counts = np.zeros(teacher.vocab_size, np.int64)
    for start in range(0, len(texts), _COUNTED_AT_ONCE):
        ids = teacher.tokenizer.encode(texts[start : start + _COUNTED_AT_ONCE], None)
        counts += np.bincount(np.fromiter(chain.from_iterable(ids), np.int64), minlength=teacher.vocab_size)
    shares = counts / max(int(counts.sum()), 1)
    weights: Array = (_HALF_WEIGHT_SHARE / (_HALF_WEIGHT_SHARE + shares)).astype(np.float32)
    return weights


def _fitted(table: Array, weights: Array, pieces: Sequence[TokenIds], targets: Array) -> Array:
    """The table moved so that the pieces' vectors come near the targets (n, dim), as far as ridge regression lets it.

    Solved in the dual, n by n: (X X' + r) A = targets - vectors, and X' A is what is added to the rows.
    """
    targets = targets - targets.mean(axis=0)
    targets = _without_common(targets, targets)
    vectors = pool(table, pieces)
    scales = 1 / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    vectors *= scales
    gain = float((vectors * targets).sum() / (vectors * vectors).sum())
    seen, columns = np.unique(np.concatenate([np.asarray(ids) for ids in pieces]), return_inverse=True)
    features = np.zeros((len(pieces), len(seen)), np.float32)
    np.add.at(features, (np.repeat(np.arange(len(pieces)), [len(ids) for ids in pieces]), columns), 1)
    np.sqrt(features, out=features)
    features *= weights[seen]
    features *= scales
    gram = features @ features.T
    gram[np.diag_indices_from(gram)] += _RIDGE * float(np.diag(gram).mean())
    moves = features.T @ np.linalg.solve(gram, targets - gain * vectors)
    fitted = gain * table
    fitted[seen] += moves * weights[seen, None]
    return fitted


def _without_common(rows: Array, vectors: Array) -> Array:
    """Rows (m, dim) without the directions that vectors (n, dim) have in common: their first principal components."""
    unit = _unit(vectors)
    _, directions = np.linalg.eigh(unit.T @ unit)  # (dim, dim), the largest last
    common = directions[:, -_COMMON_DIRECTIONS:]
    without: Array = rows - (rows @ common) @ common.T
    return without


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
