"""python -m benchmarks.llm: the table, the whole result under benchmarks/results/, and a last line of JSON."""

import argparse
import json
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.core.command import keep, positive, say, some_of
from benchmarks.core.tables import verdicts
from benchmarks.core.venvs import VENVS, NotInstalled, ensure
from benchmarks.llm import loads, report
from benchmarks.llm.headline import TARGETS, headline
from benchmarks.llm.run import Plan, run

REQUIREMENTS = Path(__file__).with_name("requirements-litellm.txt")
NAMES = ("gateway", "bare", "litellm")
FIRST_TOKEN, SOAK = "first_token", "soak"
LOADS = (*(load.name for load in loads.full()), FIRST_TOKEN, SOAK)
SOAK_REQUESTS, QUICK_SOAK_REQUESTS = 60_000, 3_000
TURNS, QUICK_TURNS = 160, 20


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark. Returns the exit code: 2 for a wrong command line, 1 where a server answered wrongly."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended on it, too
    chosen = [load for load in (loads.quick() if options.quick else loads.full()) if load.name in options.loads]
    plan = Plan(
        loads=chosen,
        rounds=1 if options.quick else options.rounds,
        first_token_turns=(QUICK_TURNS if options.quick else TURNS) if FIRST_TOKEN in options.loads else 0,
        soak_requests=(QUICK_SOAK_REQUESTS if options.quick else SOAK_REQUESTS) if SOAK in options.loads else 0,
        chosen=options.servers,
    )
    program, began = _litellm() if "litellm" in options.servers else None, time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-llm-") as folder:
        outcome = run(plan, program, Path(folder), say)
    figures = headline(outcome)
    whole = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_s": round(time.perf_counter() - began, 1),
        "is_quick": options.quick,
        "headline": figures,
        **report.as_json(outcome, chosen),
    }
    print(report.tables(outcome, chosen), verdicts(figures, TARGETS), sep="\n\n")
    print(f"\nthe whole result: {keep('llm', whole)}")
    print(json.dumps(figures))
    return 1 if outcome.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llm", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of few requests, to see that it works")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds of all loads (5: about ten minutes)")
    parser.add_argument("--servers", type=some_of(NAMES), default=NAMES, help=f"some of {','.join(NAMES)}")
    parser.add_argument("--loads", type=some_of(LOADS), default=LOADS, help=f"some of {','.join(LOADS)}")
    return parser


def _litellm() -> Path | None:
    say("LiteLLM: its environment, made once (750 MB)")
    try:
        return ensure(VENVS / "litellm", REQUIREMENTS, "litellm")
    except NotInstalled as exc:
        say(f"LiteLLM is left out: {exc}")
        return None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
