"""One run: fill the index, start all anew over it, draw questions, warm up, measure, end."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.core.processes import Others
from benchmarks.search.index import fill
from benchmarks.search.measure import askable, measure, understood
from benchmarks.search.questions import TooFew, draw
from benchmarks.search.report import Outcome
from benchmarks.search.servers import started
from benchmarks.search.ways import neutral_weights

Sources = Iterable[tuple[str, Path]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: at least so many chunks, so many questions, so many rounds; model: one of MODELS."""

    chunks: int
    queries: int
    rounds: int
    model: str


def run(plan: Plan, sources: Sources, data: Path, logs: Path, allowed: Path, say: Callable[[str], None]) -> Outcome:
    """Measure. data: keeps the index; allowed: the folder below which the sources lie; say: told of each step.

    Every process that was started has ended when this returns or fails, KeyboardInterrupt included. Fails with
    DidNotStart, CallFailed, NotIndexed, TooFew, WrongAnswer, and as the sources do.
    """
    say("starting the services")
    with started(data, logs, allowed, plan.model) as stack:
        chunks, roots = fill(stack, sources, plan.chunks, say)
    questions = draw(roots, plan.queries)
    # Anew: what indexing has left in the memory of a process is nothing that a search finds there.
    say("starting them anew, to search")
    with started(data, logs, allowed, plan.model) as stack:
        first = stack.call("GET", "/v1/repositories")["repositories"][0]["id"]
        neutral = neutral_weights(stack.call("GET", f"/v1/repositories/{first}/ranking"))
        say(f"asking {len(questions)} questions, to warm up")
        read = understood(stack, questions)
        kept = askable(stack, questions, neutral, say)
        if not kept:
            raise TooFew("no question is answered in every way; index more with --chunks")
        others = Others()
        batches = measure(stack, kept, neutral, plan.rounds, say)
        counts = Counter(question.kind for question in kept)
        return Outcome(batches, chunks, counts, read, neutral, others.part(), plan.model)
