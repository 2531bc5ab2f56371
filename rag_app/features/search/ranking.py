"""How candidates become a ranking. Pure: values in, values out."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rag_app.core.models import Chunk, Hit
from rag_app.features.search.fusion import Candidate, Ranked, best_first, convex, place
from rag_app.features.search.signals import boosts, class_weight, evidence, file_of, is_called
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
) -> list[Ranked]:
    """Best first: fused scores, times the weight of the file's class, each signal then lifting towards 1.

    is_place_told: paths were asked for, so that no class of file stands back.
    """
    fused = convex(candidates, dense_share, sparse_ceiling)
    told = evidence(fused)
    ranked = []
    for one in fused:
        chunk = one.candidate.chunk
        parts = dict(one.parts)
        score = one.score
        if not is_place_told:
            parts["path_weight"] = class_weight(chunk, asked, weights)
            score *= parts["path_weight"]
        for name, boost in boosts(chunk, asked, weights, told).items():
            parts[name] = boost * (1 - score)
            score += parts[name]
        ranked.append(Ranked(one.candidate, score, parts))
    return best_first(ranked)


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


def spread(ranked: Sequence[Ranked], limit: int, per_file: int) -> list[Ranked]:
    """The first `limit`, with at most `per_file` chunks of a file (0: any) while other files have something left."""
    if not per_file:
        return list(ranked[:limit])
    seen: Counter[tuple[str, str]] = Counter()
    kept: list[Ranked] = []
    held_back: list[Ranked] = []
    for one in ranked:
        file = file_of(one.candidate.chunk)
        seen[file] += 1
        (kept if seen[file] <= per_file else held_back).append(one)
    chosen = (kept + held_back)[:limit]
    return best_first(chosen)


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
