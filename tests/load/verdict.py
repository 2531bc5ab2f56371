"""Was the promise held? Pure, standard library only: Locust imports it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.load.records import Record
from tests.load.scenarios import LIMITS_S


def judge(record: Record) -> str:
    """Why a request broke the promise, "" where it held: an error, or an answer that came too late."""
    if record.error:
        return record.error
    limit_s = LIMITS_S[record.scenario]
    return f"over {limit_s:g} s" if record.latency_s >= limit_s else ""


@dataclass(frozen=True, slots=True)
class Summary:
    """One scenario of one run. rps: answers that held the promise, a second of the schedule; times in ms.

    first_token: of generations that were answered. behind_ms: how late the generator itself sent, p99.
    """

    planned: int
    answered: int
    rps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    first_token_p95_ms: float
    tokens: float
    behind_ms: float
    broken: Mapping[str, int]

    @property
    def errors(self) -> int:
        """Requests that broke the promise, and those that were never sent."""
        return sum(self.broken.values()) + self.planned - self.answered


def summary(records: Sequence[Record], scenario: str, planned: int, duration_s: float) -> Summary:
    """What became of `planned` requests over `duration_s`. A request that is not in `records` was not sent."""
    mine = [record for record in records if record.scenario == scenario]
    broken = Counter(reason for record in mine if (reason := judge(record)))
    held = [record for record in mine if not judge(record)]
    latencies = [record.latency_s * 1e3 for record in mine] or [0.0]
    firsts = [record.first_token_s * 1e3 for record in held] or [0.0]
    return Summary(
        planned=planned,
        answered=len(mine),
        rps=round(len(held) / duration_s, 2),
        p50_ms=round(percentile(latencies, 50), 1),
        p95_ms=round(percentile(latencies, 95), 1),
        p99_ms=round(percentile(latencies, 99), 1),
        max_ms=round(max(latencies), 1),
        first_token_p95_ms=round(percentile(firsts, 95), 1),
        tokens=round(sum(record.tokens for record in held) / max(len(held), 1), 1),
        behind_ms=round(percentile([(record.sent_s - record.due_s) * 1e3 for record in mine] or [0.0], 99), 1),
        broken=dict(broken),
    )


def is_growing(records: Sequence[Record], scenario: str, duration_s: float) -> bool:
    """Whether a queue is building up that a longer run would pay for: the last third waits thrice as long as the first.

    Told by medians, and only where it is felt (over a tenth of the promise): a busy second is no queue.
    """

    def median(begin_s: float, end_s: float) -> float:
        third = [r.latency_s for r in records if r.scenario == scenario and begin_s <= r.due_s < end_s]
        return percentile(third, 50) if third else 0.0

    first, last = median(0, duration_s / 3), median(duration_s * 2 / 3, duration_s)
    return last > LIMITS_S[scenario] / 10 and last > 3 * first


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` % of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]
