"""python -m evals.ragas.score: asks a live stack and scores its answers; runs in Ragas's environment.

Every finished question and every call is kept in the run's folder at once; the same folder given again goes on there.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from evals.ragas import report
from evals.ragas.asking import Stack, StackRefused
from evals.ragas.cost import money, price
from evals.ragas.journal import Journal, OtherRun
from evals.ragas.judge import JudgeAway, embedder_of, judge_of
from evals.ragas.metrics import Metric, judged_metrics, plain_metrics
from evals.ragas.run import evaluate
from evals.ragas.sets import Task, read_sets
from evals.ragas.tape import EMBEDDING, JUDGE, STACK, BadTape, NotRecorded, Tape, TapedTransport, scope
from search_eval.golden import BadQuestion

DONE, STOPPED = 0, 2

# A judge on a CPU reads a prompt of eight passages for minutes.
JUDGE_LIMIT_S = 600

# What may pass is tried again by OpenAI's client, after waits that it chooses.
RETRIES = 2


@dataclass(frozen=True, slots=True)
class _Clients:
    """By the tape; the stack's has its address for a base."""

    stack: httpx.AsyncClient
    judge: httpx.AsyncClient
    embedding: httpx.AsyncClient


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 where every question was scored, 2 where the run stopped; it says why, and how to go on."""
    options = parser().parse_args(arguments)
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"  # it sends each use to its makers
    try:
        return asyncio.run(_run(options, read_sets(options.questions)))
    except (BadQuestion, OtherRun) as exc:
        _say(f"not begun: {exc}")
    except (BadTape, StackRefused, JudgeAway, NotRecorded, httpx.TransportError) as exc:
        _say(f"stopped: {exc or type(exc).__name__}")
        _say(f"what is finished is kept; go on with --folder {options.folder}")
    return STOPPED


async def _run(options: argparse.Namespace, tasks: list[Task]) -> int:
    options.folder.mkdir(parents=True, exist_ok=True)
    tape = _tape(options)
    async with _clients(options, tape) as clients:
        metrics = [*plain_metrics(), *_judged(options, clients)]
        made_of = _made_of(options, tasks, metrics)
        journal = Journal(options.folder / "questions.jsonl", made_of)
        are_scripted = await _are_answers_scripted(clients.stack, options.llm_url)
        stack = Stack(clients.stack, options.limit)
        await evaluate(tasks, stack, metrics, journal, options.parallel, _say, lambda tokens: _spent(options, tokens))
    if options.cache and not options.replay:
        options.cache.parent.mkdir(parents=True, exist_ok=True)
        Tape(options.cache).take(options.folder / "calls.jsonl")
    run = report.Run(
        title=options.title or ", ".join(path.stem for path in options.questions),
        metrics={metric.name: metric.is_judged for metric in metrics},
        models=_models(options),
        prices=dict(options.price),
        made_of=made_of,
        are_answers_scripted=are_scripted,
    )
    figures = report.result(run, [journal.done[task.question.id] for task in tasks])
    text = report.tables(run, figures)
    (options.folder / "result.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False), "utf-8")
    (options.folder / "report.md").write_text(text, "utf-8")
    _say(f"calls that went out: {dict(tape.sent) or 'none'}; all others came from tapes")
    print(text)  # noqa: T201
    print(json.dumps(figures["headline"], ensure_ascii=False))  # noqa: T201
    return DONE


def _tape(options: argparse.Namespace) -> Tape:
    if options.replay:
        return Tape(None, [options.replay], is_replay=True)
    others = [options.cache] if options.cache and options.cache.exists() else []
    return Tape(options.folder / "calls.jsonl", others)


@asynccontextmanager
async def _clients(options: argparse.Namespace, tape: Tape) -> AsyncIterator[_Clients]:
    key = os.environ.get("RAG_API_KEY", "")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with AsyncExitStack() as open_:

        async def client(to: str, **more: Any) -> httpx.AsyncClient:
            return await open_.enter_async_context(httpx.AsyncClient(transport=TapedTransport(tape, to), **more))

        yield _Clients(
            await client(STACK, base_url=options.url, headers=headers, timeout=60),
            await client(JUDGE, timeout=JUDGE_LIMIT_S),
            await client(EMBEDDING, timeout=JUDGE_LIMIT_S),
        )


def _judged(options: argparse.Namespace, clients: _Clients) -> list[Metric]:
    if not options.judge_model:
        return []
    retries = 0 if options.replay else RETRIES
    judge = judge_of(options.judge_url, options.judge_model, clients.judge, retries)
    return judged_metrics(
        judge, embedder_of(options.embedding_url, options.embedding_model, clients.embedding, retries)
    )


async def _are_answers_scripted(http: httpx.AsyncClient, llm_url: str) -> bool:
    """Whether the stack's own model is a script; False where its gateway cannot be asked."""
    with scope("who answers"):
        try:
            answer = await http.get(f"{llm_url.rstrip('/')}/version")
            return str(answer.json().get("version", "")).startswith("scripted-")
        except (httpx.TransportError, NotRecorded, ValueError, AttributeError):
            return False


def _made_of(options: argparse.Namespace, tasks: Sequence[Task], metrics: Sequence[Metric]) -> dict[str, Any]:
    """What decides the figures beside the stack: a run does not go on with another."""
    asked = json.dumps([asdict(task) for task in tasks], sort_keys=True, ensure_ascii=False)
    return {
        "questions": hashlib.sha256(asked.encode()).hexdigest()[:16],
        "metrics": [metric.name for metric in metrics],
        "judge": options.judge_model,
        "embedding": options.embedding_model if options.judge_model else "",
        "limit": options.limit,
        "ragas": version("ragas"),
    }


def _models(options: argparse.Namespace) -> dict[str, str]:
    return {"judge": options.judge_model, "embedding": options.embedding_model, "answer": options.answer_model}


def _spent(options: argparse.Namespace, tokens: Mapping[str, int]) -> str:
    cost, _ = money(tokens, _models(options), dict(options.price))
    return "" if cost is None else f", {cost:.4f} spent"


def parser() -> argparse.ArgumentParser:
    """The options; those that python -m evals.ragas does not know are passed on to here."""
    found = argparse.ArgumentParser(prog="python -m evals.ragas.score", description=__doc__)
    found.add_argument("--questions", type=Path, nargs="+", required=True, help="sets: JSON lines, golden questions")
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
    found.add_argument(
        "--price", type=price, action="append", default=[], metavar="MODEL=PROMPT/COMPLETION", help="of 10^6 tokens"
    )
    found.add_argument("--cache", type=Path, help="calls of the judge, kept between runs")
    found.add_argument("--replay", type=Path, help="a run's calls.jsonl: nothing goes over the network")
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
