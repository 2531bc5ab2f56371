"""The few shapes of PromQL that the dashboards are made of."""

from monitoring.dashboards.panels import Query

# Of a time series: at least four scrapes, whatever the zoom. Grafana puts it in.
STEP = "$__rate_interval"

# Failures of the services, by the words of the error table. All other outcomes are the caller's doing, or fine.
FAULTS = 'outcome=~"internal|upstream|unavailable|timeout|overloaded"'


def rate(counter: str, by: str = "", within: str = STEP) -> str:
    """A counter's increase a second, summed by labels."""
    grouped = f"sum by ({by}) " if by else "sum"
    return f"{grouped}(rate({counter}[{within}]))"


def quantile(q: float, histogram: str, by: str = "", labels: str = "", within: str = STEP) -> str:
    """A quantile of a classic histogram. Without an observation in the time it is NaN, which draws nothing."""
    grouped = f"le, {by}" if by else "le"
    chosen = f"{{{labels}}}" if labels else ""
    return f"histogram_quantile({q:g}, sum by ({grouped}) (rate({histogram}_bucket{chosen}[{within}])))"


def quantiles(histogram: str, labels: str = "") -> tuple[Query, ...]:
    """The median, p95 and p99."""
    return tuple(Query(quantile(q, histogram, labels=labels), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99))


def mean(histogram: str, by: str, within: str = STEP) -> str:
    """The mean of a histogram."""
    return f"{rate(f'{histogram}_sum', by, within)} / {rate(f'{histogram}_count', by, within)}"


def objective(record: str) -> Query:
    """The line that an alert fires at: of monitoring/prometheus/rules/objectives.yml, where it is changed."""
    return Query(record, "objective")


def or_zero(expr: str) -> str:
    """0 where nothing was counted yet: a counter with labels appears with its first count."""
    return f"({expr} or vector(0))"
