"""python -m benchmarks.search: the tables, the whole result under benchmarks/results/, and a last line of JSON."""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.core.command import keep, positive, say
from benchmarks.core.packages import NotFetched, WrongContent, unpacked
from benchmarks.core.processes import DidNotStart
from benchmarks.core.tables import verdicts
from benchmarks.search import report
from benchmarks.search.index import NotIndexed
from benchmarks.search.packages import PACKAGES, cache_folder
from benchmarks.search.questions import TooFew
from benchmarks.search.run import Plan, run
from benchmarks.search.servers import MODELS, CallFailed
from benchmarks.search.ways import WrongAnswer


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark. Returns the exit code: 2 for a wrong command line, 1 where it could not be measured."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended on it, too
    plan, began = Plan(options.chunks, options.queries, options.rounds, options.model), time.perf_counter()
    cache = cache_folder()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-search-") as logs:
            outcome = run(plan, _sources(cache), data_folder(plan), Path(logs), cache, say)
    except (CallFailed, DidNotStart, NotFetched, NotIndexed, TooFew, WrongAnswer, WrongContent) as exc:
        say(f"not measured: {exc}")
        return 1
    figures = report.headline(outcome)
    whole = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_s": round(time.perf_counter() - began, 1),
        "rounds_asked": plan.rounds,
        "headline": figures,
        **report.as_json(outcome),
    }
    judged = {name: figures[name] for name in report.TARGETS}
    print(report.tables(outcome), verdicts(judged, report.TARGETS), sep="\n\n")
    print(f"\nthe whole result: {keep('search', whole)}")
    print(json.dumps(figures))
    return 0


def data_folder(plan: Plan) -> Path:
    """Where the index of such a plan is kept; another number of chunks has another one, so that none has more."""
    return cache_folder() / f"index-{plan.chunks}-{plan.model}"


def _sources(cache: Path) -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        [root] = unpacked([package], cache, say)
        yield package.name, root


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--chunks", type=positive, default=100_000, help="that the index has at least (100000)")
    parser.add_argument("--queries", type=positive, default=200, help="different questions, of four kinds (200)")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds of all questions in all ways (5)")
    parser.add_argument(
        "--model", choices=MODELS, default="int8", help="as it runs (int8); each has an index of its own"
    )
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
