"""Writes a run's report below benchmarks/results/: Markdown, plots, and all values as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.core.command import RESULTS
from evals.core.golden_ranks import Change, said
from evals.core.ranking import Ranking, row_of
from evals.report import markdown
from evals.report.figures import NO_MODEL, PRODUCT, Scored
from evals.report.misses import misses
from evals.report.plots import bars


@dataclass(frozen=True, slots=True)
class Part:
    """A task's outcome. change: against the ranks that were accepted last."""

    scored: Scored
    rankings: Mapping[str, Mapping[str, Ranking]]
    chunks: Mapping[str, int]
    change: Change | None = None


def write(
    parts: Sequence[Part],
    figures: Mapping[str, float | None],
    facts: Mapping[str, object],
    skipped: Sequence[str],
    folder: Path = RESULTS,
) -> Path:
    """Returns the folder. facts: what ran on what. skipped: a sentence for each task or system that did not run."""
    into = folder / f"eval-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    into.mkdir(parents=True)
    text = ["# Is the search good", _facts(facts), *skipped]
    text.append(markdown.table(("figure", "value"), [[name, _said(value)] for name, value in figures.items()]))
    for part in parts:
        text += [markdown.section(part.scored, part.chunks, part.rankings)]
        if part.change:
            text += ["### Against the accepted ranks", f"```\n{said(part.change)}\n```"]
        text.append(misses(part.scored, part.rankings))
        (into / f"{part.scored.task}.svg").write_text(_plot(part.scored), "utf-8")
        (into / f"{part.scored.task}.json").write_text(json.dumps(_whole(part)), "utf-8")
    (into / "report.md").write_text("\n\n".join(filter(None, text)) + "\n", "utf-8")
    (into / "headline.json").write_text(json.dumps({"facts": facts, "figures": figures}, indent=1), "utf-8")
    return into


def _facts(facts: Mapping[str, object]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _plot(scored: Scored) -> str:
    rows = [
        (name, scored.interval(name, scored.questions), name in (PRODUCT, NO_MODEL))
        for name in scored.systems
        if not name.startswith(markdown.WITHOUT)
    ]
    rows.sort(key=lambda row: -row[1].mean)
    return bars(f"{scored.task}: NDCG@10, {len(scored.questions)} questions, 95 % intervals", rows)


def _whole(part: Part) -> dict[str, object]:
    return {
        "task": part.scored.task,
        "chunks": dict(part.chunks),
        "values": part.scored.values,
        "rankings": {name: {one: row_of(r) for one, r in of.items()} for name, of in part.rankings.items()},
    }


def _said(value: float | None) -> str:
    return "not measured" if value is None else f"{value:g}"
