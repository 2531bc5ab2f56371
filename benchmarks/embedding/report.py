"""The run as a table to read and as JSON to keep."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.core.stats import percentile
from benchmarks.core.tables import table
from benchmarks.embedding.headline import mixed_ratio
from benchmarks.embedding.loads import Load, Measured
from benchmarks.embedding.roof import Encoder
from benchmarks.embedding.run import Outcome, Result

_LOAD_COLUMNS = ("server", "texts/CPU-s", "tokens/CPU-s", "texts/s", "p50 ms", "p99 ms", "n", "of roof")
_SERVER_COLUMNS = ("server", "start s", "rss MB", "pss MB", "peak MB", "cosine", "mixed p50 x", "mixed p99 x")


def roof_gflops(outcome: Outcome) -> float | None:
    """GFLOP per CPU-second: the faster library's median over rounds."""
    if not outcome.roofs:
        return None
    return max(median(roof[name] for roof in outcome.roofs) for name in outcome.roofs[0])


def tables(outcome: Outcome, loads: Sequence[Load], encoder: Encoder) -> str:
    """Everything measured, for people; medians over the rounds, latencies over all requests of all rounds."""
    roof = roof_gflops(outcome)
    parts = [_roof_line(outcome, encoder)]
    for load in loads:
        rows = [_load_row(result, load.name, encoder, roof) for result in outcome.results]
        parts.append(table(load_title(load), _LOAD_COLUMNS, rows))
    parts.append(table("servers", _SERVER_COLUMNS, [_server_row(result) for result in outcome.results]))
    parts.append("\n".join(f"{result.server.name}: {result.server.about}" for result in outcome.results))
    failures = [f"{result.server.name}: {failure}" for result in outcome.results for failure in result.failures]
    return "\n\n".join([*parts, *failures])


def as_json(outcome: Outcome, loads: Sequence[Load], encoder: Encoder) -> dict[str, Any]:
    """Everything measured, for machines: every figure of every round."""
    roof = roof_gflops(outcome)
    return {
        "roof_gflop_per_cpu_s": {"used": roof, "rounds": outcome.roofs},
        "cpu_of_others": round(outcome.others, 3),
        "loads": {load.name: load_title(load) for load in loads},
        "servers": {result.server.name: _server_json(result, encoder, roof) for result in outcome.results},
    }


def load_title(load: Load) -> str:
    """What a load does, in words."""
    clients = f"{load.clients} clients" if load.clients > 1 else "one client"
    kind = "one query" if load.is_query else f"{load.batch} texts"
    meanwhile = (
        f", while {load.background[1]} clients send {load.background[0]} texts a request" if load.background else ""
    )
    return f"{load.name}: {clients}, {kind} a request{meanwhile}"


def of_roof(measured: Measured, encoder: Encoder, roof: float | None) -> float | None:
    """GFLOP that the real tokens need, padding not counted, per CPU-second, as a part of the roof."""
    if not roof or not measured.texts:
        return None
    flop = encoder.flop_per_token(measured.tokens / measured.texts) * measured.tokens_per_cpu_s
    return flop / 1e9 / roof


def _roof_line(outcome: Outcome, encoder: Encoder) -> str:
    libraries = ", ".join(
        f"{name} {median(roof[name] for roof in outcome.roofs):.0f}" for name in (outcome.roofs or [{}])[0]
    )
    mega = encoder.flop_per_token(179) / 1e6
    return (
        f"roof: a float32 matrix product, GFLOP per CPU-s: {libraries}; the model: {mega:.1f} MFLOP a token\n"
        f"other processes took {outcome.others:.0%} of the machine's CPU meanwhile"
    )


def _load_row(result: Result, load: str, encoder: Encoder, roof: float | None) -> list[str]:
    rounds = list(result.measured.get(load, {}).values())
    if not rounds:
        why = next((failure for failure in result.failures), "not measured")
        return [result.server.name, why]
    latencies = [latency for measured in rounds for latency in measured.latencies_s]
    part = of_roof(rounds[0], encoder, roof) if len(rounds) == 1 else _median_part(rounds, encoder, roof)
    return [
        result.server.name,
        f"{median(measured.texts_per_cpu_s for measured in rounds):.1f}",
        f"{median(measured.tokens_per_cpu_s for measured in rounds):.0f}",
        f"{median(measured.texts / measured.wall_s for measured in rounds):.1f}",
        f"{percentile(latencies, 50) * 1e3:.1f}",
        f"{percentile(latencies, 99) * 1e3:.1f}",
        str(len(latencies)),
        "-" if part is None or result.server.name == "static" else f"{part:.0%}",
    ]


def _median_part(rounds: list[Measured], encoder: Encoder, roof: float | None) -> float | None:
    parts = [part for measured in rounds if (part := of_roof(measured, encoder, roof)) is not None]
    return median(parts) if parts else None


def _server_row(result: Result) -> list[str]:
    memory = result.memory
    numbers = [
        (result.start_s, ".2f"),
        (memory.rss_mb if memory else None, ".0f"),
        (memory.pss_mb if memory else None, ".0f"),
        (memory.peak_mb if memory else None, ".0f"),
        (result.cosine, ".5f"),
        (mixed_ratio(result, 50), ".2f"),
        (mixed_ratio(result, 99), ".2f"),
    ]
    return [result.server.name, *("-" if value is None else format(value, how) for value, how in numbers)]


def _server_json(result: Result, encoder: Encoder, roof: float | None) -> dict[str, Any]:
    memory = result.memory
    return {
        "about": result.server.about,
        "failures": result.failures,
        "start_s": result.start_s,
        "rss_mb": memory.rss_mb if memory else None,
        "pss_mb": memory.pss_mb if memory else None,
        "peak_mb": memory.peak_mb if memory else None,
        "cosine": result.cosine,
        "loads": {
            load: [_measured_json(number, measured, encoder, roof) for number, measured in sorted(rounds.items())]
            for load, rounds in result.measured.items()
        },
    }


def _measured_json(number: int, measured: Measured, encoder: Encoder, roof: float | None) -> dict[str, Any]:
    return {
        "round": number,
        "texts": measured.texts,
        "tokens": measured.tokens,
        "cpu_s": round(measured.cpu_s, 3),
        "wall_s": round(measured.wall_s, 4),
        "texts_per_cpu_s": round(measured.texts_per_cpu_s, 2),
        "tokens_per_cpu_s": round(measured.tokens_per_cpu_s, 1),
        "texts_per_s": round(measured.texts / measured.wall_s, 2),
        "p50_ms": round(percentile(measured.latencies_s, 50) * 1e3, 2),
        "p99_ms": round(percentile(measured.latencies_s, 99) * 1e3, 2),
        "of_roof": of_roof(measured, encoder, roof),
    }
