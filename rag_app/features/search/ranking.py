"""How candidates become a ranking. Pure: values in, values out."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from rag_app.core.models import Chunk, Hit
from rag_app.features.search.fusion import Candidate, Fused, Ranked, best_first, fuse, in_order, place
from rag_app.features.search.signals import (
    File,
    boosts,
    class_weight,
    definitions,
    evidence,
    file_boosts,
    file_of,
    file_weight,
    is_called,
    kind_weight,
)
from rag_app.features.search.understanding import QueryKind, Understood
from rag_app.features.search.weights import Weights

# A run of so many words seldom stands in a text by chance.
RUN_WORDS = 3

# Hits whose text is looked at for such runs. A message that was pasted has values in it, and its arms know less of it.
READ_DEPTH = 10
READ_DEPTH_OF_MESSAGES = 20

_WORD = re.compile(r"\w+")


def rank(
    candidates: Sequence[Candidate],
    asked: Understood,
    weights: Weights,
    sparse_ceiling: float,
    *,
    dense_share: float,
    is_place_told: bool = False,
) -> Iterator[Ranked]:
    """Best first: fused scores, times the weights of file and kind of chunk, each signal then lifting towards 1.

    is_place_told: paths were asked for, so that no class of file stands back. Each is made when it is asked for: of
    300 candidates ten are.
    """
    fused = fuse(candidates, dense_share, sparse_ceiling)
    told = evidence((candidate.chunk, one.score) for candidate, one in zip(candidates, fused, strict=True))
    defined = definitions((candidate.chunk for candidate in candidates), asked, weights)
    files: dict[File, tuple[float | None, Mapping[str, float]]] = {}
    signals, scores = [], []
    for candidate, one in zip(candidates, fused, strict=True):
        chunk = candidate.chunk
        if (of_file := files.get(file := file_of(chunk))) is None:
            weight = None if is_place_told else file_weight(chunk, asked, weights, told)
            of_file = files[file] = weight, file_boosts(chunk, asked, weights, told)
        lifts = boosts(chunk, asked, weights, of_file[1], defined)
        of_kind = kind_weight(chunk, asked, weights)
        signals.append((of_file[0], of_kind, lifts))
        scores.append(_lifted(one.score, of_file[0], of_kind, lifts))
    for i in in_order(scores, candidates):
        yield Ranked(candidates[i], scores[i], _parts(candidates[i], fused[i], *signals[i]))


def _lifted(fused: float, of_file: float | None, of_kind: float, lifts: Mapping[str, float]) -> float:
    score = (fused if of_file is None else fused * of_file) * of_kind
    for boost in lifts.values():
        score += boost * (1 - score)
    return score


def _parts(
    candidate: Candidate, fused: Fused, of_file: float | None, of_kind: float, lifts: Mapping[str, float]
) -> dict[str, float]:
    """What the score was made of: each boost as what it added."""
    parts = {**candidate.ranks, **fused.parts}
    score = fused.score
    if of_file is not None:
        parts["path_weight"] = of_file
        score *= of_file
    if of_kind != 1:
        parts["kind_weight"] = of_kind
        score *= of_kind
    for name, boost in lifts.items():
        parts[name] = boost * (1 - score)
        score += parts[name]
    return parts


def by_name(chunks: Sequence[Chunk], name: str) -> list[Ranked]:
    """Rank chunks by how their names match `name`: the whole qualified name, its end, then the shortest that begins so.

    Scores: 1, .9, and below .8 the share of the name that was typed. Among equals a definition's first chunk leads.
    """
    ranked = [
        Ranked(Candidate(chunk), score, {"name": score}) for chunk in chunks if (score := _name_score(chunk, name))
    ]
    return sorted(ranked, key=lambda one: (-one.score, *place(one.candidate.chunk)))


def stood_back(ranked: Sequence[Ranked], asked: Understood, weights: Weights) -> list[Ranked]:
    """Each score times the weight of its file's class; best first again."""
    weighted = []
    for one in ranked:
        weight = class_weight(one.candidate.chunk, asked, weights)
        weighted.append(Ranked(one.candidate, one.score * weight, {**one.parts, "path_weight": weight}))
    return best_first(weighted)


def read_depth(asked: Understood) -> int:
    """How many hits' texts are to be looked at; 0 where the query has no run of words."""
    if not _runs(asked.message or asked.text):
        return 0
    return READ_DEPTH_OF_MESSAGES if asked.kind == QueryKind.ERROR else READ_DEPTH


def quoted(hits: Sequence[Hit], asked: Understood, share: float) -> list[Hit]:
    """Lift the hits that say the query word for word, whatever its case and signs, by a share of their way to 1.

    As much of the query counts as stands there in runs of RUN_WORDS words: a message that was pasted has values where
    the source has placeholders. `verbatim` tells how much.
    """
    wanted = _runs(asked.message or asked.text)
    if not wanted:
        return list(hits)
    lifted = []
    for hit in hits:
        said = len(wanted & _runs(hit.chunk.text)) / len(wanted)
        boost = share * said * (1 - hit.score)
        scores = {**hit.scores, "verbatim": said, "verbatim_boost": boost} if said else hit.scores
        lifted.append(replace(hit, score=hit.score + boost, scores=scores))
    return sorted(lifted, key=lambda hit: -hit.score)


def reranked(hits: Sequence[Hit], scores: Sequence[float], share: float) -> list[Hit]:
    """Hits with a cross-encoder's scores weighed in, best first. scores: of the first hits, each in [0, 1].

    Hits without one keep the rest of their score, so that none passes one that was read only because it was not.
    """
    read = [
        replace(hit, score=(1 - share) * hit.score + share * score, scores={**hit.scores, "rerank": score})
        for hit, score in zip(hits, scores, strict=False)
    ]
    unread = [replace(hit, score=(1 - share) * hit.score) for hit in hits[len(scores) :]]
    return sorted([*read, *unread], key=lambda hit: -hit.score)


def spread(ranked: Iterable[Ranked], limit: int, per_file: int) -> list[Ranked]:
    """The first `limit`, with at most `per_file` chunks of a file (0: any) while other files have something left."""
    if not per_file:
        return list(islice(ranked, limit))
    seen: Counter[tuple[str, str]] = Counter()
    kept: list[Ranked] = []
    held_back: list[Ranked] = []
    for one in ranked:
        file = file_of(one.candidate.chunk)
        seen[file] += 1
        (kept if seen[file] <= per_file else held_back).append(one)
        if len(kept) == limit:
            break
    chosen = (kept + held_back)[:limit]
    return best_first(chosen)


def shown_of(hits: Sequence[Hit], limit: int, per_file: int) -> list[Hit]:
    """The first `limit` as spread() chooses them: more are read than are shown, and then in another order."""
    chosen = spread([Ranked(Candidate(hit.chunk), hit.score) for hit in hits], limit, per_file)
    by_id = {hit.chunk.id: hit for hit in hits}
    return [by_id[one.candidate.chunk.id] for one in chosen]


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return set(zip(*(words[first:] for first in range(RUN_WORDS)), strict=False))


def _name_score(chunk: Chunk, name: str) -> float:
    qualified, symbol = chunk.qualified_name.lower(), chunk.symbol.lower()
    if name == qualified:
        return 1.0
    if is_called(chunk, name):
        return 0.9
    starts = [called for called in (symbol, qualified) if called.startswith(name)]
    return 0.8 * len(name) / len(min(starts, key=len)) if starts else 0.0
