"""Asks every question in every way, round after round, and takes the CPU time of each batch."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.search.questions import KINDS, Question
from benchmarks.search.servers import Stack
from benchmarks.search.ways import WAYS, Way, WrongAnswer

# What a server does after an answer's last byte, such as its log, belongs to the search.
_SETTLE_S = 0.1

# A batch takes 0.2 s to settle, and a machine's speed drifts: 1 to 2 s of work each.
_BATCH = 25


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions of one kind, asked in one way in one round. cpu_s: of each process."""

    number: int
    kind: str
    way: str
    queries: int
    cpu_s: Mapping[str, float]


def askable(
    stack: Stack, questions: Sequence[Question], neutral: Mapping[str, float], say: Callable[[str], None]
) -> list[Question]:
    """The questions of which every way finds what it should; that warms all servers up. Fails as Stack.call does."""
    kept, said = [], ""
    for question in questions:
        try:
            for way in WAYS:
                way.check(question, stack.call("POST", "/v1/search", way.body(question, neutral)))
        except WrongAnswer as exc:
            said = str(exc)
        else:
            kept.append(question)
    if said:
        say(f"{len(questions) - len(kept)} of {len(questions)} questions are left out; the last one: {said}")
    return kept


def understood(stack: Stack, questions: Sequence[Question]) -> dict[str, dict[str, int]]:
    """Kind -> as what the product reads the questions of that kind -> how many."""
    found: dict[str, dict[str, int]] = {}
    for question in questions:
        answer = stack.call("POST", "/v1/search", {"query": question.text, "limit": 1, "explain": True})
        counts = found.setdefault(question.kind, {})
        counts[answer["query"]["kind"]] = counts.get(answer["query"]["kind"], 0) + 1
    return found


def measure(
    stack: Stack,
    questions: Sequence[Question],
    neutral: Mapping[str, float],
    rounds: int,
    say: Callable[[str], None],
) -> list[Batch]:
    """Every question once a round and way. Fails with WrongAnswer, and as Stack.call does."""
    groups = [
        chosen[start : start + _BATCH]
        for kind in KINDS
        if (chosen := [question for question in questions if question.kind == kind])
        for start in range(0, len(chosen), _BATCH)
    ]
    batches, began = [], time.monotonic()
    for number in range(rounds):
        for place, group in enumerate(groups):
            for way in in_turn(WAYS, number + place):
                batches.append(_batch(stack, number, way, group, neutral))
        say(f"round {number + 1} of {rounds}, {time.monotonic() - began:.0f} s")
    return batches


def in_turn(ways: Sequence[Way], by: int) -> list[Way]:
    """All, beginning with another one each time, so that none always comes after the same pause or first."""
    by %= len(ways)
    return [*ways[by:], *ways[:by]]


def _batch(stack: Stack, number: int, way: Way, group: Sequence[Question], neutral: Mapping[str, float]) -> Batch:
    time.sleep(_SETTLE_S)
    before = stack.cpu_s()
    for question in group:
        way.check(question, stack.call("POST", "/v1/search", way.body(question, neutral)))
    time.sleep(_SETTLE_S)
    after = stack.cpu_s()
    used = {name: after[name] - before[name] for name in after}
    return Batch(number, group[0].kind, way.name, len(group), used)
