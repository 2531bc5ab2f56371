"""The run as tables to read and as JSON to keep."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks.core.stats import percentile
from benchmarks.core.tables import table
from benchmarks.llm.headline import added_ms, ratio, worst
from benchmarks.llm.loads import Load, Measured
from benchmarks.llm.run import Outcome, Result
from benchmarks.llm.soak import Soak

_LOAD_COLUMNS = ("server", "CPU-ms", "x bare", "requests/s", "p50 ms", "p99 ms", "first p50", "first p99", "n")
_SERVER_COLUMNS = ("server", "start s", "rss MB", "pss MB", "peak MB", "added TTFT ms", "of 16")


def tables(outcome: Outcome, loads: Sequence[Load]) -> str:
    """Everything measured, for people; medians over the rounds, latencies over all requests of all rounds."""
    parts = [f"other processes took {outcome.others:.0%} of the machine's CPU meanwhile"]
    for load in loads:
        rows = [_load_row(outcome, result, load.name) for result in outcome.results.values()]
        parts.append(table(load.title(), _LOAD_COLUMNS, rows))
    rows = [_server_row(outcome, result) for result in outcome.results.values()]
    parts.append(table("servers, after all of it", _SERVER_COLUMNS, rows))
    parts += [_soak_line(outcome.soak)] if outcome.soak else []
    parts.append(_worst_line(outcome))
    parts.append("\n".join(f"{name}: {result.server.about}" for name, result in outcome.results.items()))
    return "\n\n".join([*parts, *outcome.failures])


def as_json(outcome: Outcome, loads: Sequence[Load]) -> dict[str, Any]:
    """Everything measured, for machines: every figure of every round."""
    return {
        "cpu_of_others": round(outcome.others, 3),
        "worst_of_clients": worst(outcome),
        "loads": {load.name: load.title() for load in loads},
        "servers": {name: _server_json(result) for name, result in outcome.results.items()},
        "first_tokens_ms": [
            {
                "clients": found.clients,
                **{name: _percentiles(seconds) for name, seconds in found.seconds.items() if seconds},
            }
            for found in outcome.first_tokens
        ],
        "soak": _soak_json(outcome.soak) if outcome.soak else None,
    }


def _load_row(outcome: Outcome, result: Result, load: str) -> list[str]:
    rounds = list(result.measured.get(load, {}).values())
    if not rounds:
        why = next((failure for failure in result.failures if failure.startswith((load, "did not"))), "not measured")
        return [result.server.name, why]
    cpu = [measured.cpu_ms for measured in rounds if measured.cpu_ms is not None]
    of_bare = ratio(outcome, result.server.name, "bare", load)
    whole, first = _all(rounds, lambda one: one.latencies_s), _all(rounds, lambda one: one.firsts_s)
    return [
        result.server.name,
        f"{median(cpu):.3f}" if cpu else "-",
        "-" if of_bare is None else f"{of_bare:.2f}",
        f"{median(measured.requests / measured.wall_s for measured in rounds):.0f}",
        *(f"{percentile(values, percent) * 1e3:.2f}" for values in (whole, first) for percent in (50, 99)),
        str(len(whole)),
    ]


def _all(rounds: Sequence[Measured], of: Callable[[Measured], Sequence[float]]) -> list[float]:
    return [value for measured in rounds for value in of(measured)]


def _server_row(outcome: Outcome, result: Result) -> list[str]:
    name, memory = result.server.name, result.memory
    numbers = [
        (result.start_s, ".2f"),
        (memory.rss_mb if memory else None, ".0f"),
        (memory.pss_mb if memory else None, ".0f"),
        (memory.peak_mb if memory else None, ".0f"),
        (added_ms(outcome.first_tokens, 1, name), ".2f"),
        (added_ms(outcome.first_tokens, 16, name), ".2f"),
    ]
    return [name, *("-" if value is None else format(value, how) for value, how in numbers)]


def _soak_line(soak: Soak) -> str:
    growth = "-" if soak.growth_mb is None else f"{soak.growth_mb:+.1f} MB"
    return (
        f"soak of the gateway: {soak.requests} requests in {soak.wall_s:.0f} s, {soak.cpu_s * 1e3 / soak.requests:.3f} "
        f"CPU-ms each; highest memory {soak.rss_mb:.1f} MB; from its second sixth to its last {growth}"
    )


def _worst_line(outcome: Outcome) -> str:
    found = ", ".join(f"{name} {value:.2f}" for name, value in worst(outcome).items() if value is not None)
    return f"at the worst of 1, 16 and 128 clients: {found or 'not measured'}"


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{percent}": round(percentile(seconds, percent) * 1e3, 3) for percent in (50, 90, 99)}


def _soak_json(soak: Soak) -> dict[str, Any]:
    return {
        "requests": soak.requests,
        "wall_s": round(soak.wall_s, 2),
        "cpu_s": round(soak.cpu_s, 3),
        "rss_mb": round(soak.rss_mb, 2),
        "growth_mb": None if soak.growth_mb is None else round(soak.growth_mb, 2),
        "samples": [(done, round(mb, 2)) for done, mb in soak.samples],
    }


def _server_json(result: Result) -> dict[str, Any]:
    memory = result.memory
    return {
        "about": result.server.about,
        "failures": result.failures,
        "start_s": result.start_s,
        "rss_mb": memory.rss_mb if memory else None,
        "pss_mb": memory.pss_mb if memory else None,
        "peak_mb": memory.peak_mb if memory else None,
        "loads": {
            load: [_measured_json(number, measured) for number, measured in sorted(rounds.items())]
            for load, rounds in result.measured.items()
        },
    }


def _measured_json(number: int, measured: Measured) -> dict[str, Any]:
    return {
        "round": number,
        "requests": measured.requests,
        "cpu_ms": None if measured.cpu_ms is None else round(measured.cpu_ms, 4),
        "wall_s": round(measured.wall_s, 3),
        "requests_per_s": round(measured.requests / measured.wall_s, 1),
        "whole_ms": _percentiles(measured.latencies_s),
        "first_ms": _percentiles(measured.firsts_s),
    }
