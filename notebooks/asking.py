"""Questions put to a stack, and at which rank their answer stands: what three of the notebooks look at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from notebooks import rag
from search_eval import metrics
from search_eval.golden import Question

# Deep enough that a gold place which both arms found is seen wherever the fusion put it; the server's default bound.
LIMIT = 100

# The modes of a search: meaning alone, words alone, and the product's ranking of both.
ARMS = ("dense", "sparse", "hybrid")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and the hits that it got, best first. A rank is that of the first hit that overlaps a gold span."""

    question: Question
    hits: Sequence[dict[str, Any]]
    about: dict[str, Any]

    @property
    def found(self) -> list[metrics.Found]:
        """The hits as the metrics take them."""
        return [metrics.Found(h["path"], h["start_line"], h["end_line"], len(h["content"])) for h in self.hits]

    @property
    def rank(self) -> int | None:
        """From 1; None where no gold span is among the hits."""
        return metrics.first_rank(metrics.by_span(self.found, self.question.gold))

    @property
    def ndcg(self) -> float:
        """NDCG@10 of spans, in [0, 1]."""
        right = metrics.by_span(self.found, self.question.gold)
        return metrics.ndcg(right, metrics.count(self.question.gold, is_file_level=False))

    @property
    def gold_hit(self) -> dict[str, Any] | None:
        """The best hit that overlaps a gold span."""
        return None if self.rank is None else self.hits[self.rank - 1]


def ask(client: httpx.Client, repository: str, question: Question, **fields: Any) -> Asked:
    """One question, explained. fields: of POST /v1/search, such as mode or ranking."""
    answer = rag.search(client, question.query, repository, **{"limit": LIMIT, "explain": True, **fields})
    return Asked(question, answer["hits"], answer.get("query", {}))


def ask_all(client: httpx.Client, repository: str, questions: Iterable[Question], **fields: Any) -> list[Asked]:
    """Every question, in order."""
    return [ask(client, repository, question, **fields) for question in questions]


def lost_by(ranks: dict[str, int | None]) -> str:
    """Which arm let a question down whose answer is not first. ranks: of ARMS; None is worse than any rank."""
    dense, sparse, hybrid = (ranks[arm] or LIMIT + 1 for arm in ARMS)
    if hybrid == 1:
        return ""
    if min(dense, sparse) > LIMIT:
        return "both: not found"
    if hybrid > LIMIT:
        return "the fusion: left out"
    if min(dense, sparse) == 1:
        return "the fusion: words alone had it first" if sparse == 1 else "the fusion: meaning alone had it first"
    return "the words" if sparse > dense else "the meaning" if dense > sparse else "both"
