"""The run as tables to read, as JSON to keep, and as headline figures."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.core.tables import Target, table
from benchmarks.search import cost
from benchmarks.search.cost import Spread, Ways, spread
from benchmarks.search.measure import Batch
from benchmarks.search.questions import KINDS
from benchmarks.search.servers import PROCESSES
from benchmarks.search.ways import HYBRID, WAYS

TARGETS: Mapping[str, Target] = {"ranking_cpu_ms": Target(6, at_least=False)}

_DERIVED: Mapping[str, tuple[Callable[[Ways], float], str]] = {
    "arms": (cost.arms, "dense + sparse_one - around: both arms, their fusion, ten hits fetched once"),
    "ranking": (cost.ranking, "hybrid - arms"),
    "arms_hits_twice": (cost.arms_hits_twice, "dense + sparse - nothing: the same with ten hits fetched twice"),
    "ranking_hits_twice": (cost.ranking_hits_twice, "hybrid - that"),
    "signals": (cost.signals, "hybrid - neutral: of the ranking, what its signals' values make"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """All of a run. understood: kind -> as what the product read the questions -> how many.

    others: the part of the machine's CPU that went to processes which are none of the run's while it measured.
    """

    batches: list[Batch]
    chunks: int
    queries: Mapping[str, int]
    understood: Mapping[str, Mapping[str, int]]
    neutral: Mapping[str, float]
    others: float
    model: str

    @property
    def kinds(self) -> list[str]:
        """The kinds of question that were asked."""
        return [kind for kind in KINDS if self.queries.get(kind)]


def headline(outcome: Outcome) -> dict[str, float]:
    """The figures by their names. All CPU-ms are of all three processes, a query, the median of the rounds.

    ranking_cpu_ms: what a search costs above its two arms and their fusion, and its lowest and highest round;
    hybrid_cpu_ms: the search; arms_cpu_ms: arms and fusion. chunks, queries: how many there were.
    """
    ranking = _of(outcome, cost.ranking)
    return {
        "ranking_cpu_ms": round(ranking.median, 2),
        "ranking_cpu_ms_low": round(ranking.low, 2),
        "ranking_cpu_ms_high": round(ranking.high, 2),
        "hybrid_cpu_ms": round(_of(outcome, _way(HYBRID.name)).median, 2),
        "arms_cpu_ms": round(_of(outcome, cost.arms).median, 2),
        "chunks": outcome.chunks,
        "queries": sum(outcome.queries.values()),
    }


def tables(outcome: Outcome) -> str:
    """By process, and by kind of question; who else used the machine; what is what."""
    columns = ["CPU-ms a query", *PROCESSES, "all", "lowest to highest round"]
    rows = [_row(outcome, name, figure) for name, figure in _figures().items()]
    kinds = [_kind_row(outcome, kind) for kind in outcome.kinds]
    told = [
        table(f"{outcome.chunks} chunks, {sum(outcome.queries.values())} questions, medians of rounds", columns, rows),
        table("by kind", ["kind", "questions", "hybrid", "arms", "ranking", "range", "read as"], kinds),
        f"other processes took {outcome.others:.0%} of the machine's CPU meanwhile",
        "\n".join(f"{name}: {about}" for name, about in _about().items()),
    ]
    return "\n\n".join(told)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """All figures of every process, kind and round."""
    groups: dict[str, tuple[str, ...]] = {**{name: (name,) for name in PROCESSES}, "all": PROCESSES}
    return {
        "chunks": outcome.chunks,
        "model": outcome.model,
        "queries": dict(outcome.queries),
        "understood": {kind: dict(counts) for kind, counts in outcome.understood.items()},
        "neutral": dict(outcome.neutral),
        "others": round(outcome.others, 3),
        "about": _about(),
        "cpu_ms": {
            process: {name: asdict(_of(outcome, figure, chosen)) for name, figure in _figures().items()}
            for process, chosen in groups.items()
        },
        "by_kind": {
            kind: {name: asdict(_of(outcome, figure, kind=kind)) for name, figure in _figures().items()}
            for kind in outcome.kinds
        },
        "rounds": {str(n): ways for n, ways in cost.by_round(outcome.batches, PROCESSES).items()},
    }


def _of(
    outcome: Outcome,
    figure: Callable[[Ways], float],
    processes: tuple[str, ...] = PROCESSES,
    kind: str | None = None,
) -> Spread:
    return spread(outcome.batches, figure, processes, kind)


def _figures() -> dict[str, Callable[[Ways], float]]:
    return {**{way.name: _way(way.name) for way in WAYS}, **{name: figure for name, (figure, _) in _DERIVED.items()}}


def _about() -> dict[str, str]:
    return {**{way.name: way.about for way in WAYS}, **{name: about for name, (_, about) in _DERIVED.items()}}


def _way(name: str) -> Callable[[Ways], float]:
    return lambda ways: ways[name]


def _row(outcome: Outcome, name: str, figure: Callable[[Ways], float]) -> list[str]:
    whole = _of(outcome, figure)
    parts = [f"{_of(outcome, figure, (process,)).median:.2f}" for process in PROCESSES]
    return [name, *parts, f"{whole.median:.2f}", f"{whole.low:.2f} to {whole.high:.2f}"]


def _kind_row(outcome: Outcome, kind: str) -> list[str]:
    ranking = _of(outcome, cost.ranking, kind=kind)
    costs = [f"{_of(outcome, figure, kind=kind).median:.2f}" for figure in (_way(HYBRID.name), cost.arms)]
    read = ", ".join(f"{name} {count}" for name, count in sorted(outcome.understood.get(kind, {}).items()))
    spreads = [f"{ranking.median:.2f}", f"{ranking.low:.2f} to {ranking.high:.2f}"]
    return [kind, str(outcome.queries[kind]), *costs, *spreads, read]
