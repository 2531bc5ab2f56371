"""python -m evals.ragas.score: asks a live stack and scores its answers; runs in Ragas's environment.

Every finished question and every call is kept in the run's folder at once; the same folder given again goes on there.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

os.environ["RAGAS_DO_NOT_TRACK"] = "true"  # it sends each use to its makers, read when first imported

from openai import AsyncOpenAI
from ragas import __version__ as ragas_version

from evals.ragas import report
from evals.ragas.asking import Stack, StackRefused
from evals.ragas.cost import price
from evals.ragas.journal import Journal, OtherRun
from evals.ragas.metrics import JudgeAway, Metric, embedder_of, judge_of, judged_metrics, plain_metrics, score
from evals.ragas.samples import sample
from evals.ragas.sets import Task, read_sets
from evals.ragas.tape import EMBEDDING, JUDGE, STACK, BadTape, NotRecorded, Tape, TapedTransport, scope
from search_eval.golden import BadQuestion

DONE, STOPPED = 0, 2

# A judge on a CPU reads a prompt of eight passages for minutes.
JUDGE_LIMIT_S = 600


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 where every question was scored, 2 where the run stopped; it says why, and how to go on."""
    options = parser().parse_args(arguments)
    try:
        tasks = read_sets(options.questions, options.references)[: options.first or None]
        return asyncio.run(_run(options, tasks))
    except (BadQuestion, BadTape, OtherRun, StackRefused, JudgeAway, NotRecorded, httpx.TransportError) as exc:
        _say(f"stopped: {type(exc).__name__}: {exc}")
        if not isinstance(exc, (BadQuestion, OtherRun)):
            _say(f"what is finished is kept; go on with --folder {options.folder}")
        return STOPPED


async def _run(options: argparse.Namespace, tasks: list[Task]) -> int:
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    others = [options.replay] if options.replay else [path for path in (options.cache,) if path and path.exists()]
    tape = Tape(None if options.replay else folder / "calls.jsonl", others, is_replay=bool(options.replay))
    async with _clients(options, tape) as clients:
        metrics = [*plain_metrics(), *_judged(options, clients)]
        made_of = _made_of(options, tasks, metrics)
        journal = Journal(folder / "questions.jsonl", made_of)
        is_scripted = await _is_scripted(clients[STACK], options.llm_url)
        stack = Stack(clients[STACK], options.limit)
        await _evaluate(tasks, stack, metrics, journal, options.parallel)
    if options.cache and not options.replay:
        _merge(folder / "calls.jsonl", options.cache)
    models = {"judge": options.judge_model, "embedding": options.embedding_model, "answer": options.answer_model}
    title = options.title or ", ".join(path.stem for path in options.questions)
    named = {metric.name: metric.is_judged for metric in metrics}
    run = report.Run(title, named, models, dict(options.price), made_of, is_scripted)
    figures = report.result(run, [journal.done[task.question.id] for task in tasks])
    (folder / "result.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False), "utf-8")
    text = report.tables(run, figures)
    (folder / "report.md").write_text(text, "utf-8")
    _say(f"calls that went out: {dict(tape.sent) or 'none'}; the rest came from tapes")
    print(text)  # noqa: T201
    print(json.dumps(figures["headline"], ensure_ascii=False))  # noqa: T201
    return DONE


async def _is_scripted(http: httpx.AsyncClient, llm_url: str) -> bool:
    """Whether the stack's own model answers by a script; False where its gateway cannot be asked."""
    with scope("who answers"):
        try:
            answer = await http.get(f"{llm_url.rstrip('/')}/version")
            return str(answer.json().get("version", "")).startswith("scripted-")
        except (httpx.TransportError, NotRecorded, ValueError, AttributeError):
            return False


def _made_of(options: argparse.Namespace, tasks: Sequence[Task], metrics: Sequence[Metric]) -> dict[str, Any]:
    asked = json.dumps([asdict(task) for task in tasks], sort_keys=True, ensure_ascii=False)
    return {
        "questions": hashlib.sha256(asked.encode()).hexdigest()[:16],
        "metrics": [metric.name for metric in metrics],
        "judge": options.judge_model,
        "embedding": options.embedding_model if options.judge_model else "",
        "limit": options.limit,
        "ragas": ragas_version,
    }


def _merge(own: Path, cache: Path) -> None:
    """Add the run's calls of the judge and the embedder to the cache."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    kept = Tape(cache)
    kept.take(own)


def parser() -> argparse.ArgumentParser:
    """The options; those that python -m evals.ragas does not know are passed on to here."""
    found = argparse.ArgumentParser(prog="python -m evals.ragas.score", description=__doc__)
    found.add_argument("--questions", type=Path, nargs="+", required=True, help="sets: JSON lines, golden questions")
    found.add_argument("--references", type=Path, nargs="*", default=[], help='JSON lines of {"id", "reference"}')
    found.add_argument("--first", type=int, default=0, help="only so many questions")
    found.add_argument("--title", default="", help="of the report; the sets' names by default")
    found.add_argument("--folder", type=Path, required=True, help="of this run; one that was begun goes on")
    found.add_argument("--url", default="http://127.0.0.1:8000", help="the RAG server; its key: RAG_API_KEY")
    found.add_argument("--limit", type=int, default=8, help="passages to search for (8)")
    found.add_argument("--llm-url", default="http://127.0.0.1:8002", help="the stack's gateway, to see who answers")
    found.add_argument("--answer-model", default="", help="what answers, for its price")
    found.add_argument("--judge-model", default="", help="no judge without it")
    found.add_argument("--judge-url", default="http://127.0.0.1:8002/v1", help="its server; its key: JUDGE_API_KEY")
    found.add_argument("--embedding-url", default="http://127.0.0.1:8001/v1", help="its key: EMBEDDING_API_KEY")
    found.add_argument("--embedding-model", default="default", help="for answer relevancy")
    found.add_argument("--parallel", type=int, default=2, help="questions at a time (2)")
    found.add_argument("--price", type=price, action="append", default=[], metavar="MODEL=PROMPT/COMPLETION")
    found.add_argument("--cache", type=Path, help="calls of the judge, kept between runs")
    found.add_argument("--replay", type=Path, help="a run's calls.jsonl: nothing goes over the network")
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
