"""What the services promise, and the PromQL that says how far the promise is kept."""

from dataclasses import dataclass

from monitoring.dashboards.promql import FAULTS, or_zero

# A month, as budgets are told.
PERIOD = "30d"


@dataclass(frozen=True, slots=True)
class Objective:
    """A share of events that must be good. bad, total: counters' selectors; `total - good` where bad is not counted."""

    name: str
    target: float
    total: str
    bad: str = ""
    good: str = ""

    def bad_share(self, within: str) -> str:
        """Of the events in that time the share that was bad; 0 to 1. Nothing where there was no event."""
        total = f"sum(increase({self.total}[{within}]))"
        if self.bad:
            return f"{or_zero(f'sum(increase({self.bad}[{within}]))')} / ({total} > 0)"
        return f"1 - sum(increase({self.good}[{within}])) / ({total} > 0)"

    def kept(self) -> str:
        """The share that was good, in a month."""
        return f"1 - ({self.bad_share(PERIOD)})"

    def budget_left(self) -> str:
        """1: nothing went wrong in a month, 0: as much as may, below it: more."""
        return f"1 - ({self.bad_share(PERIOD)}) / {self.allowed:g}"

    def burn(self, within: str) -> str:
        """How fast the budget is used up: 1 uses it in just a month."""
        return f"({self.bad_share(within)}) / {self.allowed:g}"

    @property
    def allowed(self) -> float:
        """The share that may be bad."""
        return round(1 - self.target, 6)


# The bounds are the product's promise under load: searches under 5 s, generations under 60 s.
OBJECTIVES = (
    Objective("searches without a fault", 0.999, total="rag_searches_total", bad=f"rag_searches_total{{{FAULTS}}}"),
    Objective(
        "searches within 5 s",
        0.99,
        total="rag_search_duration_seconds_count",
        good='rag_search_duration_seconds_bucket{le="5.0"}',
    ),
    Objective("answers without a fault", 0.99, total="rag_answers_total", bad=f"rag_answers_total{{{FAULTS}}}"),
    Objective(
        "answers within 60 s",
        0.95,
        total="rag_answer_duration_seconds_count",
        good='rag_answer_duration_seconds_bucket{le="60.0"}',
    ),
)
