"""From batches to what a search, its arms and its ranking cost: pure arithmetic of CPU-ms a query."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.search.measure import Batch
from benchmarks.search.ways import AROUND, DENSE, HYBRID, NEUTRAL, NOTHING, SPARSE, SPARSE_ONE

# Way -> CPU-ms a query, in one round.
Ways = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median over rounds, and the lowest and highest round."""

    median: float
    low: float
    high: float


def arms(ways: Ways) -> float:
    """Both arms and their fusion, with all that is around a search once: its request, the words, the fetch of the hits.

    dense + sparse_one has that twice, but for the hits: ten are fetched for the one, one for the other. `around` is
    that second time. It searches a file in place of the index, which costs a little, too: by so much the arms come out
    too cheap here, and the ranking too dear. What both arms bring is looked up twice here and once in a search, which
    works the other way: at 114,000 chunks their first hundreds share a third, and 200 cost the RAG server 1.9 CPU-ms.
    """
    return ways[DENSE.name] + ways[SPARSE_ONE.name] - ways[AROUND.name]


def arms_hits_twice(ways: Ways) -> float:
    """The same of searches that fetch ten hits each, less one that finds none: hits are fetched twice in this."""
    return ways[DENSE.name] + ways[SPARSE.name] - ways[NOTHING.name]


def ranking(ways: Ways) -> float:
    """What a search costs above its arms and their fusion."""
    return ways[HYBRID.name] - arms(ways)


def ranking_hits_twice(ways: Ways) -> float:
    """The same above arms_hits_twice()."""
    return ways[HYBRID.name] - arms_hits_twice(ways)


def signals(ways: Ways) -> float:
    """What the signals' values cost: the same code runs with neutral ones, where it finds less to do."""
    return ways[HYBRID.name] - ways[NEUTRAL.name]


def spread(
    batches: Iterable[Batch],
    figure: Callable[[Ways], float],
    processes: Sequence[str],
    kind: str | None = None,
) -> Spread:
    """A figure of the rounds. processes: whose time counts; kind: of the questions, all where None."""
    values = [figure(ways) for ways in by_round(batches, processes, kind).values()]
    return Spread(median(values), min(values), max(values))


def by_round(
    batches: Iterable[Batch], processes: Sequence[str], kind: str | None = None
) -> dict[int, dict[str, float]]:
    """Round -> way -> CPU-ms a query, of these processes together."""
    used: dict[tuple[int, str], float] = {}
    asked: dict[tuple[int, str], int] = {}
    for batch in batches:
        if kind is None or batch.kind == kind:
            key = batch.number, batch.way
            used[key] = used.get(key, 0.0) + sum(batch.cpu_s[name] for name in processes)
            asked[key] = asked.get(key, 0) + batch.queries
    found: dict[int, dict[str, float]] = {}
    for number, way in used:
        found.setdefault(number, {})[way] = used[number, way] * 1e3 / asked[number, way]
    return found
