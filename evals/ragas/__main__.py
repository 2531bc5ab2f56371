"""`make eval-ragas`: a stack with questions asked of it and its answers scored; one line of JSON at the end.

Ragas has an environment of its own under .venvs, made here; what runs in it, evals/ragas/score.py, speaks HTTP only.
Options that are not known here are its own: `python -m evals.ragas --score-help` lists them.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.core.command import RESULTS, say
from benchmarks.core.packages import NotFetched, WrongContent
from benchmarks.core.processes import ROOT, DidNotStart
from benchmarks.core.venvs import VENVS, NotInstalled, ensure
from evals.core.indexing import NotIndexed
from evals.core.stack import CallFailed, cache_folder
from evals.ragas import chosen
from evals.ragas.services import Addresses, serving

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
REFERENCES = Path(__file__).with_name("references.jsonl")

WRONG_USE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns what the scoring returns; 2 where it could not begin, and says why."""
    options, others = _parser().parse_known_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended on it, too
    try:
        python = ensure(VENVS / "ragas", REQUIREMENTS, "python")
        if options.score_help:
            return _score(python, ["--help"])
        folder = options.folder or RESULTS / f"ragas-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        folder.mkdir(parents=True, exist_ok=True)
        sources = chosen.given(options.questions, options.sources) if options.questions else _ours(options)
        asked = chosen.write(
            folder / "set.jsonl",
            sources,
            [REFERENCES, *options.references],
            options.first,
            only_referenced=options.only_referenced,
        )
        say(f"{asked} questions; the run's folder is {folder}")
        words = ["--questions", str(folder / "set.jsonl"), "--folder", str(folder), "--title", chosen.title(sources)]
        with _addresses(options, sources, folder) as addresses:
            return _score(python, [*words, *addresses.options(), *others])
    except (NotInstalled, NotFetched, WrongContent, DidNotStart, NotIndexed, CallFailed, chosen.NothingChosen) as exc:
        say(f"not begun: {exc}")
        return WRONG_USE


def _ours(options: argparse.Namespace) -> list[chosen.Source]:
    return chosen.ours(options.half, options.packages, cache_folder(), say, fetch=not options.replay)


@contextmanager
def _addresses(options: argparse.Namespace, sources: Sequence[chosen.Source], folder: Path) -> Iterator[Addresses]:
    """Where to ask: nowhere in a replay, a stack that runs already, or one that is started."""
    if options.replay:
        yield Addresses(judge_model=options.judge_model or judge_of(options.replay), replay=options.replay)
    elif options.url:
        yield Addresses(url=options.url, judge_model=options.judge_model)
    else:
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix="logs-") as logs,
            serving(cache_folder(), Path(logs), sources, options.script, say) as addresses,
        ):
            yield addresses.judged_by(options.judge_model)


def _score(python: Path, words: Sequence[str]) -> int:
    """The scoring in Ragas's environment, its output passed on; ended with this process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([str(python), "-m", "evals.ragas.score", *words], env=environment)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def judge_of(tape: Path) -> str:
    """The judge of a recorded run: it decides the requests, so a replay asks as the run did."""
    with tape.open(encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            if one["to"] == "judge":
                return str(one["request"]["model"])
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evals.ragas", description=__doc__)
    parser.add_argument("--half", default="development", help="of our packages: development or held-out")
    parser.add_argument("--packages", default="", help="only these of our packages, separated by commas")
    parser.add_argument(
        "--questions",
        type=Path,
        nargs="*",
        default=[],
        help='other sets: JSON lines; a row without "repository" is asked in the one named as its file',
    )
    parser.add_argument("--sources", type=Path, nargs="*", default=[], help="their folders of source, set by set")
    parser.add_argument("--references", type=Path, nargs="*", default=[], help="more files of reference answers")
    parser.add_argument("--first", type=int, default=0, help="only so many questions, spread over the sets")
    parser.add_argument("--only-referenced", action="store_true", help="only questions with a reference answer")
    parser.add_argument("--folder", type=Path, help="of the run; one that was begun goes on")
    parser.add_argument("--url", default="", help="a stack that runs already; more of its addresses: --score-help")
    parser.add_argument("--script", type=Path, help="the stack's model, and judge, is this script of llm_service")
    parser.add_argument("--judge-model", default="", help="no judge without it")
    parser.add_argument("--replay", type=Path, help="a run's calls.jsonl: no stack, no judge, no network")
    parser.add_argument("--score-help", action="store_true", help="list the options of the scoring")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
