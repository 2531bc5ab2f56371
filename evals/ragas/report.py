"""From finished questions to figures and tables. Pure: the same lines give the same bytes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.ragas.cost import Price, money, total
from search_eval.statistics import Interval, interval

SCRIPTED_JUDGE = "scripted judge: shows that the machinery works, says nothing of quality"
SCRIPTED_ANSWERS = "scripted answers: no model wrote them"
NO_JUDGE = "no judge"


@dataclass(frozen=True, slots=True)
class Run:
    """What was run. metrics: name -> whether a judge scores it, in order. models: who -> model, "" where unknown."""

    title: str
    metrics: Mapping[str, bool]
    models: Mapping[str, str]
    prices: Mapping[str, Price]
    made_of: Mapping[str, Any]
    are_answers_scripted: bool


def result(run: Run, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All figures of the finished questions, which stand in the order of the set; no time, no address, no path."""
    figures = {name: _figure(name, lines) for name in run.metrics}
    tokens = total([line["tokens"] for line in lines])
    calls = total([line["calls"] for line in lines])
    cost, without_price = money(tokens, run.models, run.prices)
    labels = _labels(run, lines)
    headline = {
        "set": run.title,
        "questions": len(lines),
        "written": sum(line["mode"] == "generative" and not line["abstained"] for line in lines),
        "abstained": sum(line["abstained"] for line in lines),
        "with_reference": sum(line["has_reference"] for line in lines),
        "judge": run.models.get("judge", "") or NO_JUDGE,
        **{name: figure["mean"] for name, figure in figures.items()},
        "judge_calls": calls.get("judge", 0),
        "tokens": sum(tokens.values()),
        "cost": None if cost is None else round(cost, 6),
        "cost_without": without_price,
        "labels": labels,
    }
    groups = {
        group: {
            of: {name: _figure(name, some)["mean"] for name in run.metrics} | {"questions": len(some)}
            for of, some in _grouped(group, lines).items()
        }
        for group in ("category", "language", "repository")
    }
    return {
        "headline": headline,
        "labels": labels,
        "made_of": dict(run.made_of),
        "metrics": figures,
        "groups": groups,
        "tokens": tokens,
        "calls": calls,
        "questions": list(lines),
    }


def tables(run: Run, figures: Mapping[str, Any]) -> str:
    """The report in Markdown; what a scripted judge or model has a part in is labelled above and in each table."""
    head = figures["headline"]
    labels = "".join(f"\n**{label}**\n" for label in figures["labels"])
    parts = [
        f"# Ragas: {run.title}\n{labels}",
        f"{head['questions']} questions: {head['written']} answers written by a model, {head['abstained']} abstained, "
        f"the rest are extracts. {head['with_reference']} of {head['questions']} questions have a reference answer.\n",
        _table(run, figures, "Without a judge", is_judged=False),
    ]
    if any(run.metrics.values()):
        parts.append(_table(run, figures, f"Judged by {head['judge']}", is_judged=True))
    parts += [_group_table(run, figures, group) for group, of in figures["groups"].items() if len(of) > 1]
    parts.append(_cost_table(run, figures))
    return "\n".join(parts)


def _figure(name: str, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = [line["scores"][name] for line in lines if line["scores"][name] is not None]
    reasons = Counter(line["reasons"][name] for line in lines if line["scores"][name] is None)
    told = interval(values) if values else None
    return {
        "mean": None if told is None else round(told.mean, 4),
        "interval": None if told is None else [round(told.low, 4), round(told.high, 4)],
        "scored": len(values),
        "of": len(lines),
        "not_scored": dict(sorted(reasons.items())),
    }


def _labels(run: Run, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    labels = [SCRIPTED_JUDGE] if any(line["is_judge_scripted"] for line in lines) else []
    return [*labels, SCRIPTED_ANSWERS] if run.are_answers_scripted else labels


def _table(run: Run, figures: Mapping[str, Any], heading: str, *, is_judged: bool) -> str:
    rows = [
        (name, _mean(figure), f"{figure['scored']} of {figure['of']}", _reasons(figure))
        for name, figure in figures["metrics"].items()
        if run.metrics[name] is is_judged
    ]
    columns = ("metric", "mean [95 %]", "questions", "not scored, because")
    return _markdown(heading, _labels_of(figures, is_judged), columns, rows)


def _group_table(run: Run, figures: Mapping[str, Any], group: str) -> str:
    names = list(run.metrics)
    of = figures["groups"][group]
    rows = [(name, *(_short(of[one][name]) for one in of)) for name in names]
    columns = (f"by {group}", *(f"{one or '-'} ({of[one]['questions']})" for one in of))
    return _markdown(f"By {group}", _labels_of(figures, any(run.metrics.values())), columns, rows)


def _cost_table(run: Run, figures: Mapping[str, Any]) -> str:
    tokens, cost = figures["tokens"], figures["headline"]["cost"]
    rows = [(name, f"{count:,}", run.models.get(name.split(" ")[0], "") or "?") for name, count in tokens.items()]
    told = "no price was given" if cost is None else f"{cost:.4f} at the prices given"
    if without := figures["headline"]["cost_without"]:
        told += f", without {', '.join(without)}"
    calls = ", ".join(f"{count:,} to the {who}" for who, count in figures["calls"].items())
    table = _markdown("Cost", _labels_of(figures, True), ("tokens", "count", "model"), rows)
    return f"{table}\nMoney: {told}. Calls: {calls}. Taken from a tape or not, each is counted.\n"


def _labels_of(figures: Mapping[str, Any], is_judged: bool) -> list[str]:
    return [label for label in figures["labels"] if is_judged or label != SCRIPTED_JUDGE]


def _markdown(heading: str, labels: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(_lines(heading, labels, columns, rows)) + "\n"


def _lines(heading: str, labels: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"## {heading}\n"
    yield from (f"_{label}_\n" for label in labels)
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _grouped(group: str, lines: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    return {of: [line for line in lines if line[group] == of] for of in sorted({line[group] for line in lines})}


def _mean(figure: Mapping[str, Any]) -> str:
    return "-" if figure["mean"] is None else str(Interval(figure["mean"], *figure["interval"]))


def _short(mean: float | None) -> str:
    return "-" if mean is None else f"{mean:.3f}"


def _reasons(figure: Mapping[str, Any]) -> str:
    return "; ".join(f"{reason} ({count})" for reason, count in figure["not_scored"].items())
