"""What a system answers a question with, and how it is kept between runs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from evals.core.task import Batch
from search_eval.golden import Question
from search_eval.metrics import Found


@dataclass(frozen=True, slots=True)
class Ranking:
    """The hits for one question, best first; took_s: as the asker saw it.

    told: what the system says of each hit, such as `explain`; of the first ten only.
    """

    found: tuple[Found, ...]
    took_s: float = 0.0
    told: tuple[Mapping[str, Any], ...] = field(default=())
    degraded: tuple[str, ...] = ()


class System(Protocol):
    """Something that ranks. One object serves all batches of a run."""

    @property
    def name(self) -> str:
        """Its row in the tables."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever its rankings may; "" where they must not be kept."""
        ...

    def prepare(self, batch: Batch, repository: str) -> None:
        """Read the batch's folder. repository: its id in the product's index, which is up to date; "" without one."""
        ...

    def rank(self, question: Question) -> Ranking:
        """The ranking of a question of the batch that was prepared last."""
        ...


class Kept:
    """Rankings of systems that do not change from run to run, one file for each system and batch."""

    def __init__(self, folder: Path) -> None:
        """folder: made at the first write."""
        self._folder = folder

    def read(self, system: System, batch: Batch) -> dict[str, Ranking]:
        """By question's id; {} where nothing is kept of this version, state and wording."""
        path = self._path(system, batch)
        if not system.version or not path.exists():
            return {}
        return {one: ranking_of(row) for one, row in json.loads(path.read_text("utf-8")).items()}

    def write(self, system: System, batch: Batch, rankings: Mapping[str, Ranking]) -> None:
        """Keep them, where the system has a version."""
        if not system.version:
            return
        path = self._path(system, batch)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({one: row_of(ranking) for one, ranking in rankings.items()}), "utf-8")
        partial.replace(path)

    def _path(self, system: System, batch: Batch) -> Path:
        asked = [(question.id, question.query) for question in batch.questions]
        key = hashlib.sha256(repr((system.version, batch.state, asked)).encode()).hexdigest()[:16]
        return self._folder / system.name / f"{batch.repository}-{key}.json"


def row_of(ranking: Ranking) -> dict[str, Any]:
    """What JSON takes."""
    return {
        "found": [[one.path, one.start_line, one.end_line, one.chars] for one in ranking.found],
        "took_s": round(ranking.took_s, 4),
        "told": list(ranking.told),
        "degraded": list(ranking.degraded),
    }


def ranking_of(row: Mapping[str, Any]) -> Ranking:
    """The other way."""
    found = tuple(Found(*one) for one in row["found"])
    return Ranking(found, row["took_s"], tuple(row.get("told", ())), tuple(row.get("degraded", ())))


def reciprocal_rank_fusion(rankings: Sequence[Ranking], k: int = 60) -> list[Found]:
    """Merge by sum of 1 / (k + rank), rank from 1; ties keep the order of first appearance.

    Source: Cormack, Clarke, Büttcher 2009, where k = 60. A hit is the same in two rankings where its place is.
    """
    scores: dict[tuple[str, int, int], float] = {}
    seen: dict[tuple[str, int, int], Found] = {}
    for ranking in rankings:
        for rank, one in enumerate(ranking.found, 1):
            place = (one.path, one.start_line, one.end_line)
            scores[place] = scores.get(place, 0.0) + 1 / (k + rank)
            seen.setdefault(place, one)
    return [seen[place] for place in sorted(scores, key=lambda place: -scores[place])]
