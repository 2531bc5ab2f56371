"""Metrics of one ranking against its gold places. Gains are binary; a mean over questions is the caller's.

A ranking comes in as the hits that an engine gave, best first. `by_file` and `by_span` turn it into one bool a rank,
and all metrics are of that: so that both levels are measured by the same few lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

from search_eval.golden import Gold

# What a person or a model sees without scrolling; the published sets report at 10, too.
DEPTH = 10

# Of English and code under the tokenizers of today's models, about: enough to compare two rankings, whatever the model.
CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Found:
    """A hit: where it stands, and how long its text is. Lines count from 1, both ends included; 0 and 0: a file."""

    path: str
    start_line: int = 0
    end_line: int = 0
    chars: int = 0

    @property
    def tokens(self) -> int:
        """About how many tokens it costs to read: characters / 4, rounded up."""
        return ceil(self.chars / CHARS_PER_TOKEN)


def by_file(found: Sequence[Found], gold: Sequence[Gold]) -> list[bool]:
    """Whether each file of the ranking is a gold one; the rank of a file is the rank of its first hit."""
    wanted = {one.path for one in gold}
    return [path in wanted for path in dict.fromkeys(hit.path for hit in found)]


def by_span(found: Sequence[Found], gold: Sequence[Gold]) -> list[bool]:
    """Whether each hit overlaps a gold span that no hit before it was counted for.

    A gold span counts once, for else five chunks of one long class would be five right answers; a hit that overlaps two
    counts for the first of them that is still open, and takes the rank that it takes either way.
    """
    left = list(gold)
    right = []
    for hit in found:
        met = next((one for one in left if overlaps(hit, one)), None)
        if met is not None:
            left.remove(met)
        right.append(met is not None)
    return right


def overlaps(hit: Found, gold: Gold) -> bool:
    """Whether they share a line of a file; a whole file shares one with every part of it."""
    if hit.path != gold.path:
        return False
    return gold.is_file or hit.end_line == 0 or (hit.start_line <= gold.end_line and gold.start_line <= hit.end_line)


def count(gold: Sequence[Gold], is_file_level: bool) -> int:
    """How many right answers there are at a level: gold files, or gold spans."""
    return len({one.path for one in gold}) if is_file_level else len(gold)


def ndcg(right: Sequence[bool], golds: int, k: int = DEPTH) -> float:
    """Normalised discounted cumulative gain of the first k ranks, in [0, 1].

    right: whether each rank is right, at most `golds` of them. The ideal has min(golds, k) right ones first.
    Source: Järvelin and Kekäläinen 2002, with binary gains and log2(rank + 1).
    """
    gain = sum(1 / log2(rank + 1) for rank, is_right in enumerate(right[:k], 1) if is_right)
    ideal = sum(1 / log2(rank + 1) for rank in range(1, min(golds, k) + 1))
    return gain / ideal


def reciprocal_rank(right: Sequence[bool], k: int = DEPTH) -> float:
    """1 / the rank of the first right answer among the first k; 0 where none is."""
    first = first_rank(right[:k])
    return 1 / first if first else 0.0


def recall(right: Sequence[bool], golds: int, k: int) -> float:
    """The share of all right answers that stand among the first k."""
    return sum(right[:k]) / golds


def hit(right: Sequence[bool], k: int) -> float:
    """1 where at least one right answer stands among the first k, else 0."""
    return float(any(right[:k]))


def first_rank(right: Sequence[bool]) -> int | None:
    """The rank of the first right answer, from 1; None where there is none."""
    return next((rank for rank, is_right in enumerate(right, 1) if is_right), None)


def tokens_to_gold(found: Sequence[Found], gold: Sequence[Gold]) -> int | None:
    """Tokens read, hit by hit, until one that overlaps a gold span has been read, that one included; None: never."""
    read = 0
    for one in found:
        read += one.tokens
        if any(overlaps(one, place) for place in gold):
            return read
    return None


def measured(found: Sequence[Found], gold: Sequence[Gold]) -> dict[str, float]:
    """All metrics of one question by name; those of spans begin with "span_".

    "tokens_to_gold" is left out where no gold was reached, so that its mean is over the reached ones: see span_hit.
    """
    values: dict[str, float] = {}
    for prefix, right, is_file_level in (("", by_file(found, gold), True), ("span_", by_span(found, gold), False)):
        golds = count(gold, is_file_level)
        values[f"{prefix}ndcg10"] = ndcg(right, golds)
        values[f"{prefix}mrr10"] = reciprocal_rank(right)
        for k in (1, 5, 10):
            values[f"{prefix}recall{k}"] = recall(right, golds, k)
            values[f"{prefix}hit{k}"] = hit(right, k)
    tokens = tokens_to_gold(found, gold)
    return values if tokens is None else {**values, "tokens_to_gold": float(tokens)}
