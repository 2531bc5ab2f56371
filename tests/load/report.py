"""A load run as a page (Markdown with plots), as JSON, and as one line of headline figures."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from benchmarks.core.tables import table
from tests.load import plots
from tests.load.cpu import core_count, cores
from tests.load.run import Outcome, Story, cores_needed, cost_ms, told
from tests.load.scenarios import GENERATE, LIMITS_S, SEARCH
from tests.load.verdict import percentile

# Bins of the plots: a second holds too few generations to have a p95.
EVERY_S = 5.0


def headline(story: Story, chunks: int) -> dict[str, object]:
    """The figures of the promise, at the highest rate that was held (`promise_held`: at the rates asked for).

    Where none was held, they are those of the rates asked for.
    """
    assert story.promise is not None
    shown, asked = story.held or story.promise, story.promise
    searches, generations = shown.of(SEARCH), shown.of(GENERATE)
    used = shown.cores
    share = shown.load.search_rate / asked.load.search_rate if asked.load.search_rate else 1.0
    by_cost = cores_needed(story.costs, asked.load.rates)
    return {
        "search_rps": searches.rps,
        "search_p95_ms": searches.p95_ms,
        "generate_rps": generations.rps,
        "generate_p95_ms": generations.p95_ms,
        "errors": shown.errors,
        "promise_held": asked.is_held,
        "search_max_ms": searches.max_ms,
        "generate_max_ms": generations.max_ms,
        "minutes": shown.load.minutes,
        "chunks": chunks,
        "cache_hit_rate": None if shown.hit_rate is None else round(shown.hit_rate, 4),
        "tokens": generations.tokens,
        "cpu_by_process": {name: round(value, 3) for name, value in used.items()},
        "cores": core_count(),
        "cores_needed": round(sum(used.values()) / share, 2) if story.held and share else None,
        "cores_needed_by_cost": None if by_cost is None else round(by_cost, 2),
        "asked": {
            "search_rate": asked.load.search_rate,
            "generate_rate": asked.load.generate_rate,
            "search_p95_ms": asked.of(SEARCH).p95_ms,
            "generate_p95_ms": asked.of(GENERATE).p95_ms,
            "errors": asked.errors,
        },
    }


def tables(story: Story) -> str:
    """What was seen, as plain text."""
    assert story.promise is not None
    runs = [*story.costs.values(), story.promise, *story.tries]
    if story.held is not None and story.held is not story.promise:
        runs.append(story.held)
    columns = (
        "load", "search/s", "generate/s", "search p50", "p95", "max ms", "gen p50", "p95", "max ms", "first token p95",
        "errors", "behind p99", "cores", "held",
    )  # fmt: skip
    rows = [_row(outcome) for outcome in runs]
    parts = [table("Loads (latency from when a request was due)", columns, rows)]
    if story.costs:
        names = list(story.promise.cores)
        costs = {name: cost_ms(outcome, name) for name, outcome in story.costs.items()}
        cost_rows = [
            [scenario, *(f"{by.get(name, 0.0):.2f}" for name in names), f"{sum(by.values()):.2f}"]
            for scenario, by in costs.items()
        ]
        parts.append(table("CPU-ms a request, at a light load", ("", *names, "sum"), cost_rows))
    shown = story.held or story.promise
    used = shown.cores
    rows = [[name, f"{value:.3f}", f"{shown.watch.peak_mb.get(name, 0):.0f}"] for name, value in used.items()]
    rows.append(["other processes", f"{shown.watch.others_s() / shown.watch.wall_s():.3f}", ""])
    parts.append(table(f"Cores in use under {shown.load.name}, of {core_count()}", ("process", "cores", "MB"), rows))
    broken = {
        f"{outcome.load.name}: {name}: {reason}": count
        for outcome in runs
        for name in (SEARCH, GENERATE)
        for reason, count in outcome.of(name).broken.items()
    }
    if broken:
        parts.append(table("What broke the promise", ("", "requests"), [[k, str(v)] for k, v in broken.items()]))
    return "\n\n".join(parts)


def _row(outcome: Outcome) -> list[str]:
    searches, generations = outcome.of(SEARCH), outcome.of(GENERATE)
    return [
        outcome.load.name,
        f"{outcome.load.search_rate:g}",
        f"{outcome.load.generate_rate:g}",
        *(f"{value:.0f}" for value in (searches.p50_ms, searches.p95_ms, searches.max_ms)),
        *(f"{value:.0f}" for value in (generations.p50_ms, generations.p95_ms, generations.max_ms)),
        f"{generations.first_token_p95_ms:.0f}",
        str(outcome.errors),
        f"{max(searches.behind_ms, generations.behind_ms):.0f}",
        f"{sum(outcome.cores.values()):.2f}",
        "yes" if outcome.is_held else "no",
    ]


def as_json(story: Story) -> dict[str, object]:
    """Everything but the single requests, which stand in the CSV files beside."""
    assert story.promise is not None
    runs = {"promise": story.promise, **{f"cost_{name}": outcome for name, outcome in story.costs.items()}}
    runs |= {outcome.load.name: outcome for outcome in story.tries}
    if story.held is not None:
        runs["held"] = story.held
    return {name: _whole(outcome) for name, outcome in runs.items()}


def _whole(outcome: Outcome) -> dict[str, object]:
    return {
        "load": asdict(outcome.load),
        SEARCH: asdict(outcome.of(SEARCH)),
        GENERATE: asdict(outcome.of(GENERATE)),
        "held": outcome.is_held,
        "cpu_s": outcome.watch.used_s(),
        "others_cpu_s": round(outcome.watch.others_s(), 2),
        "peak_mb": outcome.watch.peak_mb,
        "cache": outcome.cache,
    }


def write(folder: Path, story: Story, figures: Mapping[str, object]) -> Path:
    """report.md and its plots; returns the page."""
    assert story.promise is not None
    outcomes = {"promise": story.promise}
    if story.held is not None and story.held is not story.promise:
        outcomes["held"] = story.held
    lines = [
        "# The promise under load",
        "",
        "Searches under 5 s and generations under 60 s, "
        f"{story.promise.load.search_rate:g} and {story.promise.load.generate_rate:g} a second at once for "
        f"{story.promise.load.minutes:g} minutes without an error: "
        f"**{'held' if story.promise.is_held else 'not held'}** on {core_count()} cores.",
        "",
        "```",
        tables(story),
        "```",
        "",
    ]
    for name, outcome in outcomes.items():
        lines += [f"## {outcome.load.name}", "", told(outcome), ""]
        for kind, svg in _plots(outcome).items():
            (folder / f"{name}-{kind}.svg").write_text(svg)
            lines += [f"![{kind}]({name}-{kind}.svg)", ""]
    lines += ["## Headline", "", *(f"- `{name}`: {value}" for name, value in figures.items()), ""]
    page = folder / "report.md"
    page.write_text("\n".join(lines))
    return page


def _plots(outcome: Outcome) -> dict[str, str]:
    found: dict[str, str] = {}
    for scenario in (SEARCH, GENERATE):
        points = [(r.due_s, r.latency_s) for r in outcome.records if r.scenario == scenario]
        bins = plots.binned(points, EVERY_S)
        lines = {
            name: [(number * EVERY_S, of(values)) for number, values in bins.items()]
            for name, of in (("p50", _p50), ("p95", _p95), ("max", max))
        }
        title = f"{scenario}: seconds from due to answered, by when it was due"
        found[f"{scenario}-latency"] = plots.chart(title, "s", lines, LIMITS_S[scenario])
    answered = {
        scenario: [
            (number * EVERY_S, len(values) / EVERY_S)
            for number, values in plots.binned(
                [(r.ended_s, 1.0) for r in outcome.records if r.scenario == scenario and not r.error], EVERY_S
            ).items()
        ]
        for scenario in (SEARCH, GENERATE)
    }
    found["rate"] = plots.chart("answers a second", "1/s", answered)
    used = {name: cores(points) for name, points in outcome.watch.series.items()}
    used["whole machine"] = cores(outcome.watch.machine)
    found["cpu"] = plots.chart("cores in use, by process", "cores", used)
    return found


def _p50(values: list[float]) -> float:
    return percentile(values, 50)


def _p95(values: list[float]) -> float:
    return percentile(values, 95)
