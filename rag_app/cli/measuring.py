"""Asks the running server golden questions under given weights, and tells how good its rankings are."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rag_app.cli.client import Failure, Server
from search_eval.golden import Question
from search_eval.metrics import DEPTH, Found, measured
from search_eval.source_paths import tells_history
from search_eval.statistics import interval

# What is told of each way to rank, by its name in search_eval.metrics and in a table.
FIGURES = {
    "ndcg10": "NDCG@10", "mrr10": "MRR@10", "recall1": "recall@1", "recall5": "recall@5", "recall10": "recall@10",
}  # fmt: skip

# Hits a search: ten files, of which each may stand there with five chunks. The default ranking shows three of a file at
# first; a bare arm knows no such limit.
HITS = 5 * DEPTH

Values = dict[str, float]


@dataclass
class Asker:
    """Measures questions one by one in a repository; what was asked once is remembered.

    is_past: the questions are messages of commits that the index holds, so that a changelog quotes them; hits in one
    are passed over. searches, took_s: made so far, and their time.
    """

    rag: Server
    repository: str
    questions: Sequence[Question]
    is_past: bool = True
    searches: int = 0
    took_s: float = 0.0
    _known: dict[tuple[object, ...], Values] = field(default_factory=dict)

    def values(self, index: int, ranking: Mapping[str, float], mode: str = "hybrid") -> Values:
        """The metrics of one question. ranking: all weights, or none for what the server has by itself.

        Fails where the server went without its embedding service: that would measure something else.
        """
        key = (index, mode, *sorted(ranking.items()))
        if key not in self._known:
            self._known[key] = self._asked(self.questions[index], ranking, mode)
        return self._known[key]

    def all(self, ranking: Mapping[str, float], mode: str = "hybrid") -> list[Values]:
        """The metrics of every question."""
        return [self.values(index, ranking, mode) for index in range(len(self.questions))]

    def ndcg(self, ranking: Mapping[str, float], indexes: Sequence[int]) -> list[float]:
        """NDCG@10 over files of some questions: what tuning looks at."""
        return [self.values(index, ranking)["ndcg10"] for index in indexes]

    def _asked(self, question: Question, ranking: Mapping[str, float], mode: str) -> Values:
        body: dict[str, Any] = {
            "query": question.query, "repositories": [self.repository], "limit": HITS, "mode": mode,
            "ranking": dict(ranking),
        }  # fmt: skip
        started = time.monotonic()
        answer = self.rag.call("POST", "/v1/search", body)
        self.took_s += time.monotonic() - started
        self.searches += 1
        if answer["degraded"]:
            raise Failure(
                f"the server searched without {', '.join(answer['degraded'])}, and that would be measured; "
                "see `code-assistant status`"
            )
        found = [Found(hit["path"], hit["start_line"], hit["end_line"], len(hit["content"])) for hit in answer["hits"]]
        return measured([one for one in found if not (self.is_past and tells_history(one.path))], question.gold)


def figures(values: Sequence[Values], level: str = "files") -> dict[str, dict[str, float]]:
    """Each figure's mean with its 95 % interval. values: at least one question's. level: "files" or "functions"."""
    told = {}
    for name in FIGURES:
        one = interval([value[name if level == "files" else f"span_{name}"] for value in values])
        told[name] = {"mean": round(one.mean, 4), "low": round(one.low, 4), "high": round(one.high, 4)}
    return told


def table(rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A table of figures, a row for each way to rank."""
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"  {title:<19}" for title in FIGURES.values()).rstrip()]
    for name, row in rows.items():
        cells = (
            f"{row[figure]['mean']:.3f} [{row[figure]['low']:.3f}, {row[figure]['high']:.3f}]" for figure in FIGURES
        )
        lines.append(f"{name:<{width}}" + "".join(f"  {cell:<19}" for cell in cells).rstrip())
    return "\n".join(lines) + "\n"
