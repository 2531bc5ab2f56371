"""The report as Markdown."""

from collections.abc import Mapping, Sequence
from statistics import median

from evals.core.ranking import Ranking
from evals.report.figures import ARM_TOLERANCE, BASELINES, PRODUCT, Scored
from search_eval.golden import Question

# In tables by group, where a column for each signal taken out would say little.
WITHOUT = "without_"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; every column but the first is of numbers."""
    rule = ["---", *("--:" for _ in columns[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(columns), rule, *map(list, rows)])


def section(one: Scored, chunks: Mapping[str, int], rankings: Mapping[str, Mapping[str, Ranking]]) -> str:
    """All tables of one task."""
    questions = list(one.questions)
    parts = [
        f"## {one.task}",
        f"{len(questions)} questions"
        + (f", {len(one.extra)} of them in Korean as well" if one.extra else "")
        + (f"; {sum(chunks.values())} chunks in {len(chunks)} repositories" if chunks else "")
        + ". File level but for the columns of spans; the rank of a file is the rank of its first chunk.",
        f"![NDCG@10 by system]({one.task}.svg)",
        _overall(one, questions),
        *_halves(one),
        *_groups(one),
        *_without(one, questions),
        _behind(one),
        _seconds(rankings),
    ]
    return "\n\n".join(part for part in parts if part)


def _overall(one: Scored, questions: list[Question]) -> str:
    columns = ("system", "NDCG@10", "95 %", "MRR@10", "R@1", "R@5", "R@10", "span NDCG@10", "span hit@10",
               "tokens to gold", "product is ahead by", "p")  # fmt: skip
    rows = []
    for name in (n for n in one.systems if not n.startswith(WITHOUT)):
        found = one.interval(name, questions)
        figures = [_f(one.mean(name, questions, m)) for m in ("mrr10", "recall1", "recall5", "recall10")]
        spans = [_f(one.mean(name, questions, m)) for m in ("span_ndcg10", "span_hit10")]
        tokens = one.of(name, questions, "tokens_to_gold")
        rows.append([
            name, _f(found.mean), f"[{_f(found.low)}, {_f(found.high)}]", *figures, *spans,
            f"{median(tokens):.0f}" if tokens else "-", *_ahead(one, name, questions),
        ])  # fmt: skip
    return table(columns, rows)


def _ahead(one: Scored, name: str, questions: Sequence[Question]) -> tuple[str, str]:
    if name == PRODUCT or PRODUCT not in one.values:
        return "", ""
    gain = one.gain(PRODUCT, name, questions)
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]", f"{one.p(PRODUCT, name, questions):.4f}"


def _halves(one: Scored) -> list[str]:
    halves = {name: qs for name, qs in one.groups().items() if name.startswith("half: ")}
    if not halves or PRODUCT not in one.values:
        return []
    rows = []
    for name, questions in halves.items():
        best = one.best_baseline(questions)
        ours = one.interval(PRODUCT, questions)
        row = [name.removeprefix("half: "), str(len(questions)), f"{_f(ours.mean)} [{_f(ours.low)}, {_f(ours.high)}]"]
        rows.append([*row, f"{best} {_f(one.mean(best, questions))}", *_ahead(one, best, questions)] if best else row)
    columns = ("half", "questions", "product", "best baseline", "product is ahead by", "p")
    return ["### Looked at when tuning, and never looked at", table(columns, rows)]


def _groups(one: Scored) -> list[str]:
    shown = [name for name in one.systems if not name.startswith(WITHOUT)]
    rows = [
        [group, str(len(questions)), *(_f(one.mean(name, questions)) for name in shown)]
        for group, questions in one.groups().items()
        if not group.startswith("half: ") and len(questions) < len(one.questions)
    ]
    return ["### NDCG@10 by group", table(("group", "questions", *shown), rows)] if rows else []


def _without(one: Scored, questions: Sequence[Question]) -> list[str]:
    rows = []
    for name in (n for n in one.systems if n.startswith(WITHOUT)):
        difference, p = _ahead(one, name, questions)
        by_half = [
            f"{one.gain(PRODUCT, name, of).mean:+.3f}" for group, of in one.groups().items() if group.startswith("half")
        ]
        rows.append([name.removeprefix(WITHOUT), _f(one.mean(name, questions)), difference, p, ", ".join(by_half)])
    columns = ("signal taken out", "NDCG@10 then", "the signal is worth", "p", "by half")
    return ["### Each signal taken out", table(columns, rows)] if rows else []


def _behind(one: Scored) -> str:
    rows = [[group, str(count), arm, f"{by:+.3f}"] for group, count, arm, by in one.behind_an_arm()]
    if PRODUCT not in one.values:
        return ""
    if not rows:
        return f"In no group is the product more than {ARM_TOLERANCE} behind its better arm."
    title = f"### Groups where the product is more than {ARM_TOLERANCE} behind its better arm"
    return f"{title}\n\n" + table(("group", "questions", "arm", "difference"), rows)


def _seconds(rankings: Mapping[str, Mapping[str, Ranking]]) -> str:
    told = [
        f"{name} {median(ranking.took_s for ranking in of.values()) * 1000:.0f}"
        for name, of in rankings.items()
        if of and (name == PRODUCT or name in BASELINES)
    ]
    return f"Median ms a question, as the asker saw it on a machine that did other things, too: {', '.join(told)}."


def _f(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
