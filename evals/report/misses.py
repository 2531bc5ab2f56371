"""The worst misses with what the ranking says of itself. Questions that are held out are never shown."""

import json
from collections.abc import Mapping

from evals.core.ranking import Ranking
from evals.report.figures import PRODUCT, Scored
from search_eval.golden import Question
from search_eval.metrics import by_file, first_rank

MISSES = 10
HELD_OUT = "held-out"


def misses(one: Scored, rankings: Mapping[str, Mapping[str, Ranking]]) -> str:
    """Ten questions of the lowest NDCG@10, the deepest gold first, each with its first hits."""
    if PRODUCT not in rankings:
        return ""
    of = rankings[PRODUCT]

    def badness(question: Question) -> tuple[float, int]:
        rank = first_rank(by_file(of[question.id].found, question.gold))
        return one.values[PRODUCT][question.id]["ndcg10"], -(rank or 10_000)

    shown = sorted((q for q in one.questions if one.half(q) != HELD_OUT), key=badness)[:MISSES]
    return f"### {one.task}: the {len(shown)} worst misses\n\n" + "\n\n".join(_told(q, of[q.id]) for q in shown)


def _told(question: Question, ranking: Ranking) -> str:
    rank = first_rank(by_file(ranking.found, question.gold))
    wanted = ", ".join(
        gold.path if gold.is_file else f"{gold.path}:{gold.start_line}-{gold.end_line}" for gold in question.gold
    )
    lines = [
        f"**{question.id}** ({question.category}): {json.dumps(question.query, ensure_ascii=False)[:300]}",
        f"wanted {wanted}; first at {rank or f'no rank of {len(ranking.found)} hits'}",
    ]
    if ranking.told and "query" in ranking.told[0]:
        lines.append(f"read as {json.dumps({k: v for k, v in ranking.told[0]['query'].items() if k != 'weights'})}")
    hits = [
        f"{number}. {found.path}:{found.start_line}-{found.end_line} {_scores(told)}"
        for number, (found, told) in enumerate(zip(ranking.found, ranking.told, strict=False), 1)
        if number <= 5
    ]
    return "\n\n".join(lines) + "\n\n" + "\n".join(hits)


def _scores(told: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value:.3g}" for name, value in told.items() if isinstance(value, int | float))
