"""From rankings to figures: values by question, means by group, differences with their intervals. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from evals.core.ranking import Ranking
from search_eval.golden import Question
from search_eval.metrics import measured
from search_eval.statistics import Interval, interval, paired_interval, permutation_p

PRODUCT, NO_MODEL = "product", "no_model"

# What a user has without the product's ranking: the product is compared with the best of them.
BASELINES = ("ripgrep", "bm25", "dense", "rrf", "llamaindex")

# The product's own arms, either of which the fusion may not be worse than.
ARMS = ("bm25", "dense")
ARM_TOLERANCE = 0.005

MAIN = "ndcg10"


@dataclass(frozen=True, slots=True)
class Scored:
    """All values of one task. half: of a question, "" where the task has no halves. extra: questions told apart.

    values: system -> question's id -> metric -> value.
    """

    task: str
    questions: Sequence[Question]
    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    half: Callable[[Question], str] = lambda _: ""
    extra: Sequence[Question] = ()

    @property
    def systems(self) -> list[str]:
        """In the order in which they were asked."""
        return list(self.values)

    def of(self, system: str, questions: Iterable[Question], metric: str = MAIN) -> list[float]:
        """One value a question; those that have none of this metric are left out."""
        rows = self.values[system]
        return [rows[q.id][metric] for q in questions if metric in rows[q.id]]

    def mean(self, system: str, questions: Sequence[Question], metric: str = MAIN) -> float | None:
        """The mean; None where the system was not asked, or nothing has a value."""
        if system not in self.values:
            return None
        values = self.of(system, questions, metric)
        return mean(values) if values else None

    def interval(self, system: str, questions: Sequence[Question], metric: str = MAIN) -> Interval:
        """The mean with its interval."""
        return interval(self.of(system, questions, metric))

    def gain(self, ours: str, theirs: str, questions: Sequence[Question], metric: str = MAIN) -> Interval:
        """The mean difference on the same questions."""
        return paired_interval(self.of(ours, questions, metric), self.of(theirs, questions, metric))

    def p(self, ours: str, theirs: str, questions: Sequence[Question], metric: str = MAIN) -> float:
        """Of that difference."""
        return permutation_p(self.of(ours, questions, metric), self.of(theirs, questions, metric))

    def best_baseline(self, questions: Sequence[Question]) -> str | None:
        """The baseline with the highest mean on these questions; None where none was asked."""
        asked = [name for name in BASELINES if name in self.values]
        return max(asked, key=lambda name: self.mean(name, questions) or 0.0) if asked else None

    def groups(self) -> dict[str, list[Question]]:
        """Questions by what they have in common: categories, languages, repositories, halves, those told apart."""
        found: dict[str, list[Question]] = {}
        for question in self.questions:
            kinds = ("category", question.category), ("language", question.language), ("half", self.half(question))
            for kind, name in (*kinds, ("repository", question.repository)):
                if name:
                    found.setdefault(f"{kind}: {name}", []).append(question)
        if self.extra:
            found["asked in Korean"] = list(self.extra)
        return found

    def behind_an_arm(self) -> list[tuple[str, int, str, float]]:
        """Groups, the whole among them, where the product is behind its better arm by more than is allowed.

        (group, questions, arm, product - arm), worst first.
        """
        found = []
        arms = [name for name in ARMS if name in self.values]
        for name, questions in {"all": list(self.questions), **self.groups()}.items():
            ours = self.mean(PRODUCT, questions)
            if ours is None or not arms:
                continue
            arm = max(arms, key=lambda one: self.mean(one, questions) or 0.0)
            difference = ours - (self.mean(arm, questions) or 0.0)
            if difference < -ARM_TOLERANCE:
                found.append((name, len(questions), arm, difference))
        return sorted(found, key=lambda row: row[3])


def scored(
    task: str,
    questions: Sequence[Question],
    rankings: Mapping[str, Mapping[str, Ranking]],
    half: Callable[[Question], str] = lambda _: "",
    is_extra: Callable[[Question], bool] = lambda _: False,
) -> Scored:
    """Measure every ranking. is_extra: questions that are told apart, and are in no other figure."""
    values = {
        name: {question.id: measured(of[question.id].found, question.gold) for question in questions}
        for name, of in rankings.items()
    }
    main = [question for question in questions if not is_extra(question)]
    return Scored(task, main, values, half, [question for question in questions if is_extra(question)])


def headline(all_scored: Sequence[Scored]) -> dict[str, float | None]:
    """The figures that the last line tells; None where they were not measured."""
    figures: dict[str, float | None] = dict.fromkeys(
        ("ndcg10", "ndcg10_no_model", "symbol_ndcg10", "unseen_ndcg10", "best_baseline_ndcg10",
         "gain_over_best_baseline", "p_value")
    )  # fmt: skip
    for one in all_scored:
        if PRODUCT in one.values:
            figures |= _ours(one) if one.task == "ours" else _others(one)
    return {name: None if value is None else round(value, 4) for name, value in figures.items()}


def _ours(one: Scored) -> dict[str, float | None]:
    questions = list(one.questions)
    groups = one.groups()
    unseen = groups.get("half: held-out", [])
    figures = {
        "ndcg10": one.mean(PRODUCT, questions),
        "ndcg10_no_model": one.mean(NO_MODEL, questions),
        "symbol_ndcg10": one.mean(PRODUCT, groups.get("category: symbol", [])),
        "unseen_ndcg10": one.mean(PRODUCT, unseen),
        "span_ndcg10": one.mean(PRODUCT, questions, "span_ndcg10"),
        "korean_ndcg10": one.mean(PRODUCT, list(one.extra)),
    }
    if best := one.best_baseline(questions):
        figures["best_baseline_ndcg10"] = one.mean(best, questions)
        figures["gain_over_best_baseline"] = one.gain(PRODUCT, best, questions).mean
        figures["p_value"] = one.p(PRODUCT, best, questions)
    if unseen and (best := one.best_baseline(unseen)):
        figures["unseen_gain_over_best_baseline"] = one.gain(PRODUCT, best, unseen).mean
    return figures


def _others(one: Scored) -> dict[str, float | None]:
    questions = list(one.questions)
    figures = {
        f"{one.task}_{metric}": one.mean(PRODUCT, questions, metric) for metric in ("ndcg10", "mrr10", "recall5")
    }
    for name in (NO_MODEL, "llamaindex"):
        if name in one.values:
            figures[f"{one.task}_{name}_ndcg10"] = one.mean(name, questions)
    return figures
