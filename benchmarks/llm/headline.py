"""The headline figures, by the names that scripts read."""

from collections.abc import Callable, Mapping

from benchmarks.core.stats import median_ratio
from benchmarks.core.tables import Target
from benchmarks.llm.first_token import FirstTokens
from benchmarks.llm.loads import CLIENTS, Measured
from benchmarks.llm.run import Outcome, Result

# At 16 a server is busy and not swamped. The other two are in the table, and the worst of the three is told.
HEADLINE_CLIENTS = 16

TARGETS: Mapping[str, Target] = {
    "cpu_vs_bare_plain": Target(1.2, at_least=False),
    "cpu_vs_bare_stream": Target(1.2, at_least=False),
    "litellm_vs_cpu_plain": Target(22),
    "litellm_vs_cpu_stream": Target(45),
    "added_ttft_ms_p50": Target(2, at_least=False),
    "rss_mb": Target(90, at_least=False),
}


def headline(outcome: Outcome) -> dict[str, float | None]:
    """The figures by their names; None where a side of one was not measured.

    cpu_vs_bare_*: the gateway's CPU a request over the bare pass-through's; litellm_vs_cpu_*: LiteLLM's over the
    gateway's; both at 16 clients, the median over rounds of the ratio within a round. stream: tokens one right after
    the other. added_ttft_ms_p50: see FirstTokens.added_ms, one client. rss_mb: the gateway's highest in the soak.
    """
    figures = {
        "cpu_vs_bare_plain": ratio(outcome, "gateway", "bare", f"plain_{HEADLINE_CLIENTS}"),
        "cpu_vs_bare_stream": ratio(outcome, "gateway", "bare", f"stream_{HEADLINE_CLIENTS}"),
        "litellm_vs_cpu_plain": ratio(outcome, "litellm", "gateway", f"plain_{HEADLINE_CLIENTS}"),
        "litellm_vs_cpu_stream": ratio(outcome, "litellm", "gateway", f"stream_{HEADLINE_CLIENTS}"),
        "added_ttft_ms_p50": added_ms(outcome.first_tokens, 1),
        "rss_mb": outcome.soak.rss_mb if outcome.soak else None,
    }
    return {name: None if value is None else round(value, 3) for name, value in figures.items()}


def worst(outcome: Outcome) -> dict[str, float | None]:
    """The same ratios of CPU at the number of clients where each is worst for the gateway; also of paced streams."""
    found: dict[str, float | None] = {}
    for kind in ("plain", "stream", "paced"):
        loads = [f"{kind}_{clients}" for clients in CLIENTS]
        found[f"cpu_vs_bare_{kind}"] = _of(max, [ratio(outcome, "gateway", "bare", load) for load in loads])
        found[f"litellm_vs_cpu_{kind}"] = _of(min, [ratio(outcome, "litellm", "gateway", load) for load in loads])
    return found


def ratio(outcome: Outcome, above: str, below: str, load: str) -> float | None:
    """CPU a request of one server over another's."""
    over, under = outcome.results.get(above), outcome.results.get(below)
    return median_ratio(_cpu_ms(over, load), _cpu_ms(under, load)) if over and under else None


def added_ms(found: list[FirstTokens], clients: int, name: str = "gateway") -> float | None:
    """What a server adds to the first token's time where so many clients ask."""
    return next((one.added_ms(name) for one in found if one.clients == clients), None)


def _cpu_ms(result: Result, load: str) -> dict[int, float]:
    rounds: dict[int, Measured] = result.measured.get(load, {})
    return {number: measured.cpu_ms for number, measured in rounds.items() if measured.cpu_ms is not None}


def _of(pick: Callable[[list[float]], float], values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return pick(known) if known else None
