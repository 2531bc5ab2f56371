"""The headline figures, and whether they are reached."""

from collections.abc import Callable, Mapping

from benchmarks.core.stats import median_ratio, percentile
from benchmarks.core.tables import Target
from benchmarks.embedding.loads import Measured
from benchmarks.embedding.run import Outcome, Result

TARGETS: Mapping[str, Target] = {
    "bulk_vs_naive": Target(1.75, aim=2),
    "bulk_vs_infinity": Target(1.75, aim=2),
    "single_vs_naive": Target(4, aim=4.5),
    "single_vs_infinity": Target(2, aim=2.2),
    "single_wall_vs_naive": Target(3.5),
    "single_wall_vs_infinity": Target(2),
    "bulk_int8_vs_naive": Target(2.25),
    "mixed_query_p99_ratio": Target(3, at_least=False),
    "rss_mb": Target(450, at_least=False),
    "start_s": Target(3, at_least=False),
}


def headline(outcome: Outcome) -> dict[str, float | None]:
    """The figures by their names; None where a side of one was not measured.

    Ratios are ours / theirs in texts per CPU-second, *_wall_* in texts per second, the median over rounds. bulk is of
    32 texts a request, single of 64 clients. mixed_query_p99_ratio: the p99 of a client's queries under bulk / the
    same on an idle server. rss_mb and start_s: of the default backend.
    """
    by_name = {result.server.name: result for result in outcome.results}
    ours, int8, naive, infinity = (by_name.get(name) for name in ("onnx", "onnx-int8", "naive", "infinity"))
    memory = ours.memory if ours else None
    figures = {
        "bulk_vs_naive": _ratio(ours, naive, "bulk_32", _cpu),
        "bulk_vs_infinity": _ratio(ours, infinity, "bulk_32", _cpu),
        "single_vs_naive": _ratio(ours, naive, "single_64", _cpu),
        "single_vs_infinity": _ratio(ours, infinity, "single_64", _cpu),
        "single_wall_vs_naive": _ratio(ours, naive, "single_64", _wall),
        "single_wall_vs_infinity": _ratio(ours, infinity, "single_64", _wall),
        "bulk_int8_vs_naive": _ratio(int8, naive, "bulk_32", _cpu),
        "mixed_query_p99_ratio": mixed_ratio(ours, 99),
        "rss_mb": memory.rss_mb if memory else None,
        "start_s": ours.start_s if ours else None,
    }
    return {name: None if value is None else round(value, 3) for name, value in figures.items()}


def mixed_ratio(result: Result | None, percent: float) -> float | None:
    """A percentile of the queries' latency under bulk, over the same on the idle server in the same round."""
    if result is None:
        return None
    mixed, idle = (
        {
            number: percentile(measured.latencies_s, percent)
            for number, measured in result.measured.get(name, {}).items()
        }
        for name in ("mixed", "single_1")
    )
    return median_ratio(mixed, idle)


def _ratio(ours: Result | None, theirs: Result | None, load: str, of: Callable[[Measured], float]) -> float | None:
    if ours is None or theirs is None:
        return None
    left, right = (
        {number: of(measured) for number, measured in side.measured.get(load, {}).items()} for side in (ours, theirs)
    )
    return median_ratio(left, right)


def _cpu(measured: Measured) -> float:
    return measured.texts_per_cpu_s


def _wall(measured: Measured) -> float:
    return measured.texts / measured.wall_s
