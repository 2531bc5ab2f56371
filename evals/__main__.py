"""`python -m evals`: ask every question of every system; a report, and one line of JSON at the end."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.core.command import positive, say, some_of
from benchmarks.core.packages import NotFetched, WrongContent
from benchmarks.core.processes import ROOT, DidNotStart
from evals.core import golden_ranks
from evals.core.indexing import Index, NotIndexed
from evals.core.loop import Answers, answered
from evals.core.product import PlainFusion, Product, without_each
from evals.core.ranking import Kept, System
from evals.core.stack import CallFailed, Service, cache_folder, started
from evals.report import write
from evals.report.figures import NO_MODEL, PRODUCT, headline, scored
from evals.tasks.chosen import TASKS, chosen
from evals.tasks.commits import NoRepository
from evals.tasks.ours import Ours, Pinned, is_korean, packages
from search_eval.golden import Question

SYSTEMS = ("product", "no_model", "bm25", "dense", "rrf", "ripgrep", "llamaindex", "without")


def main(arguments: list[str] | None = None) -> int:
    """Run it. Returns the exit code: 1 on a loss against the accepted ranks with --check, 2 where it could not run."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended on it, too
    try:
        return _check(options) if options.check else _report(options)
    except (NotFetched, WrongContent, NoRepository, DidNotStart, NotIndexed, CallFailed, FileNotFoundError) as exc:
        say(f"the evaluation could not run: {exc}")
        return 2


def _report(options: argparse.Namespace) -> int:
    cache = cache_folder()
    tasks, skipped = chosen(options.tasks, os.environ, cache, say, options.quick, options.at_most)
    for line in skipped:
        say(line)
    began = datetime.now(UTC)
    parts = []
    with _stack(cache, options.data) as service:
        index = Index(service, say)
        systems = _systems(options, service, cache, skipped)
        facts = {**_versions(service), "began": began.isoformat(timespec="seconds"), "quick": options.quick}
        for task in tasks:
            say(f"{task.name}: {len(task.questions)} questions, {len(systems)} systems")
            parts.append(_part(answered(task, systems, index, Kept(cache / "rankings"), say), options))
    figures = headline([part.scored for part in parts])
    facts["took_s"] = round((datetime.now(UTC) - began).total_seconds())
    folder = write.write(parts, figures, facts, skipped)
    print((folder / "report.md").read_text("utf-8"))
    print(f"the whole result: {folder}")
    print(json.dumps(figures))
    return 0


def _part(answers: Answers, options: argparse.Namespace) -> write.Part:
    half = _half_of(packages()) if answers.task == "ours" else lambda _: ""
    one = scored(answers.task, answers.questions, answers.rankings, half, is_korean)
    change = None
    if PRODUCT in answers.rankings:
        ranks = golden_ranks.ranks_of(answers.questions, answers.rankings[PRODUCT])
        accepted = golden_ranks.read(answers.task)
        if accepted.keys() & ranks.keys():
            change = golden_ranks.compared(accepted, ranks)
        if options.accept:
            say(f"accepted: {golden_ranks.write(answers.task, {**accepted, **ranks})}")
    return write.Part(one, answers.rankings, answers.chunks, change)


def _check(options: argparse.Namespace) -> int:
    """The ranks of a few small packages against those that were accepted; and that the check can fail at all."""
    cache = cache_folder()
    task = Ours([one for one in packages() if one.is_checked], cache, say)
    with _stack(cache, options.data or str(cache / "index-checked")) as service:
        index = Index(service, say)
        planted = Product("planted", service, mode="sparse")  # as if all but BM25 were lost
        ours = Product(PRODUCT, service, overrides=json.loads(options.override))
        answers = answered(task, [ours, planted], index, Kept(cache / "rankings"), say)
    ranks = {name: golden_ranks.ranks_of(answers.questions, of) for name, of in answers.rankings.items()}
    may_land, text = golden_ranks.verdict(golden_ranks.read(task.name), ranks[PRODUCT], ranks["planted"])
    print(text)
    return 0 if may_land else 1


def _stack(cache: Path, data: str) -> AbstractContextManager[Service]:
    logs = Path(tempfile.mkdtemp(prefix="evals-"))
    say(f"starting the stack; its logs are in {logs}")
    return started(Path(data) if data else cache / "index", logs, cache)


def _systems(options: argparse.Namespace, service: Service, cache: Path, skipped: list[str]) -> Sequence[System]:
    def rivals_ripgrep() -> System:
        from evals.rivals.ripgrep import Ripgrep, find

        return Ripgrep(find())

    def rivals_llamaindex() -> System:
        from evals.rivals.llamaindex import LlamaIndexPipeline, Vectors

        return LlamaIndexPipeline(Vectors(service.embedding_url, cache / "llamaindex.sqlite"))

    made: Mapping[str, Callable[[], Sequence[System]]] = {
        "product": lambda: [Product(PRODUCT, service)],
        "no_model": lambda: [Product(NO_MODEL, service.without_model or service, is_degraded=True)],
        "bm25": lambda: [Product("bm25", service, "sparse")],
        "dense": lambda: [Product("dense", service, "dense")],
        "rrf": lambda: [PlainFusion(service)],
        "ripgrep": lambda: [rivals_ripgrep()],
        "llamaindex": lambda: [rivals_llamaindex()],
        "without": lambda: without_each(service, service.weights()),
    }
    found: list[System] = []
    for name in options.systems:
        try:
            found += made[name]()
        except (FileNotFoundError, ImportError) as exc:
            skipped.append(f"{name} did not run: {exc}.")
            say(skipped[-1])
    if options.variants:
        variants = json.loads(Path(options.variants).read_text())
        found += [Product(name, service, overrides=weights) for name, weights in variants.items()]
    return found


def _half_of(pinned: Sequence[Pinned]) -> Callable[[Question], str]:
    halves = {one.name: one.half for one in pinned}
    return lambda question: halves[question.repository]


def _versions(service: Service) -> dict[str, object]:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {"commit": commit or "unknown", "weights": service.weights()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evals", description=__doc__)
    parser.add_argument("--tasks", type=some_of(TASKS), default=TASKS, help=f"some of {','.join(TASKS)}")
    parser.add_argument("--systems", type=some_of(SYSTEMS), default=SYSTEMS, help=f"some of {','.join(SYSTEMS)}")
    parser.add_argument("--quick", action="store_true", help="two packages and two commits a repository")
    parser.add_argument("--at-most", type=positive, help="commits of each repository of repoloc")
    parser.add_argument(
        "--variants", help="a JSON file: name -> overrides of the ranking's weights, more systems to ask"
    )
    parser.add_argument("--accept", action="store_true", help="keep the product's ranks as those to compare with")
    parser.add_argument("--check", action="store_true", help="a few small packages against the accepted ranks")
    parser.add_argument("--override", default="{}", help="with --check: JSON, weights for the product")
    parser.add_argument("--data", default="", help="a folder for the index, in place of the one in the cache")
    return parser


if __name__ == "__main__":
    sys.exit(main())
