"""python -m tests.load: the promise under load, a report with plots, and a last line of JSON.

Starts the whole stack on free ports with a scripted model (200 tokens, 50 a second) over an index of real code, and
sends questions that are all different. Where the rates are not held, it looks for the highest that is.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.core.command import RESULTS, say
from benchmarks.core.venvs import VENVS, NotInstalled, ensure
from tests.load import corpus, report, server
from tests.load.questions import corpus_facts, questions
from tests.load.run import Driver, Load, tell
from tests.load.scenarios import GENERATE, MINUTES, RATES, SEARCH

REQUIREMENTS = Path(__file__).with_name("requirements.txt")

# Where Compose's load profile and k6 read the questions.
QUESTIONS = server.ROOT / ".load" / "questions.json"

# 33,000 for five minutes at the rates of the promise; the search for a lower rate takes as many again.
QUESTION_COUNT = 80_000

HELD, BROKEN, WRONG_USE = 0, 1, 2


def main(
    arguments: list[str] | None = None,
    packages: Sequence[corpus.Package] = corpus.PACKAGES,
    question_count: int = QUESTION_COUNT,
) -> int:
    """Returns 0 where the promise was held at the rates asked for, 1 where not, 2 where nothing could be measured."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended on it, too
    cache = corpus.cache_folder()
    roots = corpus.sources(cache, say, packages)
    asked = options.questions
    write_questions(asked, roots, packages, question_count)
    if options.prepare:
        say(f"questions for Compose and k6: {asked}")
        return HELD
    folder = options.results / f"load-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    load = Load("promise", options.search_rate, options.generate_rate, options.minutes)
    try:
        locust = ensure(VENVS / "load", REQUIREMENTS, "locust")
        with _server(options, cache, folder) as measured:
            seen = [f"{options.sources.rstrip('/')}/{root.name}" for root in roots] if options.sources else roots
            chunks = server.indexed(measured, [str(root) for root in seen], say)
            say(f"{chunks} chunks; cache of query vectors: {measured.cache_counts()}")
            driver = Driver(measured, locust, asked, folder, say, question_count)
            story = tell(load, driver, is_cost_wanted=not options.quick)
            say(f"cache of query vectors at the end: {measured.cache_counts()}")
    except (server.NotReady, NotInstalled, corpus.WrongContent, corpus.NotFetched) as exc:
        say(f"not measured: {exc}")
        return WRONG_USE
    figures = report.headline(story, chunks)
    (folder / "result.json").write_text(json.dumps({"headline": figures, **report.as_json(story)}, indent=1))
    print(report.tables(story))
    print(f"\nthe report: {report.write(folder, story, figures)}")
    print(json.dumps(figures))
    return HELD if figures["promise_held"] else BROKEN


def write_questions(path: Path, roots: list[Path], packages: Sequence[corpus.Package], count: int) -> None:
    """The questions, as a JSON list; made anew where the corpus or the way to ask has changed."""
    made_from = json.dumps([corpus.fingerprint(packages), count, _source_of_questions()])
    stamp = path.with_suffix(".from")
    if path.exists() and stamp.exists() and stamp.read_text() == made_from:
        return
    say(f"making {count} questions of the corpus")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(questions(corpus_facts(roots), count), ensure_ascii=False, indent=0))
    stamp.write_text(made_from)


def _source_of_questions() -> str:
    texts = [Path(__file__).with_name(name).read_bytes() for name in ("facts.py", "questions.py")]
    return hashlib.sha256(b"".join(texts)).hexdigest()


@contextmanager
def _server(options: argparse.Namespace, cache: Path, folder: Path) -> Iterator[server.Server]:
    if options.url:
        pairs = (pair.split("=") for pair in options.processes.split(",") if pair)
        pids = {name: int(pid) for name, pid in pairs}
        yield server.Server(
            options.url.rstrip("/"),
            options.key,
            options.embedding_url.rstrip("/"),
            pids,
        )
        return
    with (
        tempfile.TemporaryDirectory(prefix="load-", dir=folder) as logs,
        server.started(cache, Path(logs), options.rag_servers) as measured,
    ):
        began = time.perf_counter()
        say(f"the stack serves {measured.url} after {time.perf_counter() - began:.1f} s")
        yield measured


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long the promise is put to the test (5)")
    parser.add_argument("--search-rate", type=float, default=RATES[SEARCH], help="searches a second (100)")
    parser.add_argument("--generate-rate", type=float, default=RATES[GENERATE], help="generations a second (10)")
    parser.add_argument("--rag-servers", type=int, default=1, help="so many behind the stack's proxy (1: no proxy)")
    parser.add_argument("--questions", type=Path, default=QUESTIONS, help="file to keep the questions in")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the report")
    parser.add_argument("--quick", action="store_true", help="do not measure what single requests cost")
    parser.add_argument("--prepare", action="store_true", help="fetch the corpus, write the questions, and end")
    parser.add_argument("--url", default="", help="a stack that runs already, such as Compose's http://127.0.0.1:8000")
    parser.add_argument("--key", default=os.environ.get("RAG_API_KEY", ""), help="its key (RAG_API_KEY)")
    parser.add_argument("--sources", default="", help="folder of the corpus's sources as that stack sees it")
    parser.add_argument("--embedding-url", default="", help="its embedding service, for the cache's hit rate")
    parser.add_argument("--processes", default="", help="whose CPU to tell: name=pid,name=pid")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
