"""`code-assistant up`: the whole stack on this machine, and with --repo the whole journey, from files to an answer."""

import os
import time
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from pydantic import SecretStr
from rich.status import Status

from rag_app.cli.ask import stream_answer
from rag_app.cli.client import Failure, Server
from rag_app.cli.data_folder import hint_data_folder
from rag_app.cli.interrupts import Interrupted, Interrupts
from rag_app.cli.options import RefOption
from rag_app.cli.output import (
    console,
    emit,
    error_console,
    lines_of,
    printable,
    say,
    say_degraded,
    show_citations,
    show_code,
    show_hit,
    where,
)
from rag_app.cli.processes import Processes, Service
from rag_app.cli.progress import follow
from rag_app.cli.repositories import register, source_of
from rag_app.cli.search import repository_names
from rag_app.cli.stack import Plan, StackSettings, make_plan
from rag_app.core.settings import RagSettings
from service_kit.http import bearer

DEFAULT_QUESTION = "Where does the program start?"
SHOWN_HITS = 3
SHOWN_LINES = 12

_NO_MODEL = (
    "no language model is set: answers are extracts of the code; "
    "set OPENAI_API_KEY (OpenAI), or LLM_BASE_URL (vLLM, Ollama, llama.cpp), for written ones"
)


def up(
    repo: Annotated[
        Path | None, typer.Option("--repo", metavar="PATH", help="Index this folder, then show it.")
    ] = None,
    question: Annotated[str, typer.Option("--question", help="What to ask about it.")] = DEFAULT_QUESTION,
    once: Annotated[
        bool, typer.Option("--once", help="End after the answer; the exit code tells how it went.")
    ] = False,
    ref: RefOption = None,
) -> None:
    """Start every service on this machine and serve until Ctrl-C; logs are in DATA_DIR/logs.

    With --repo: index the folder, show a search and a cited answer, then serve.

    Exit code: 0 ended while serving or after --once, 1 a step failed, 2 wrong use or a port taken, 130 Ctrl-C at work.
    """
    source = source_of(str(repo)) if repo else None
    settings = RagSettings()
    hint_data_folder(settings)
    plan = make_plan(settings, StackSettings(), os.environ, Path(source["path"]) if source else None)
    raise typer.Exit(run(plan, source, question, once=once, ref=ref))


def run(plan: Plan, source: dict[str, str] | None, question: str, *, once: bool = False, ref: str | None = None) -> int:
    """Do what the plan says until a signal comes (or until the answer, with `once`); returns the exit code."""
    interrupts = Interrupts()
    processes = Processes(plan.services, plan.environment, plan.data_dir / "logs", interrupts)
    is_serving = False
    with interrupts.raised():
        try:
            _start(plan, processes)
            if source:
                _show_journey(plan, source, question, ref, is_strict=once)
            if once:
                return 0
            is_serving = True
            _serve(plan, processes)
        except Interrupted as end:
            return 0 if is_serving else end.exit_code
        finally:
            processes.stop(lambda: say("ending all services") if is_serving else None)
    return 0


def _start(plan: Plan, processes: Processes) -> None:
    processes.check_ports()
    for place in plan.external:
        say(f"using {place}, as set; not started here")
    names = ", ".join(f"{service.module} (:{service.port})" for service in plan.services)
    say(f"starting {names}; logs in {plan.data_dir / 'logs'}")
    processes.start()
    out = error_console()
    if out.is_terminal:
        with out.status("waiting until all can serve; the first start prepares the model") as status:
            processes.wait_ready(lambda service, took_s: _tell_ready(service, took_s, status), on_wait=_tell_waiting)
    else:
        processes.wait_ready(_tell_ready, on_wait=_tell_waiting)
    if any(service.module == "llm_service" for service in plan.services) and not _is_model_set(plan):
        say(_NO_MODEL)


def _tell_ready(service: Service, took_s: float, status: Status | None = None) -> None:
    say(f"  {service.module} ready after {took_s:.1f} s")


def _tell_waiting(service: Service, reason: str) -> None:
    say(f"  {service.module} is not ready: {reason}")


def _serve(plan: Plan, processes: Processes) -> None:
    if plan.asks_for_key:
        say("callers and the page need the key that `code-assistant key` prints")
    emit(f"serving {plan.url} (Ctrl-C ends)\n")
    while True:
        time.sleep(0.5)
        processes.check_alive()


def _show_journey(plan: Plan, source: dict[str, str], question: str, ref: str | None, *, is_strict: bool) -> None:
    """Index, search, ask. A step that fails ends it where `is_strict`, and else is told and leaves the server up."""
    try:
        with Server(plan.url.replace("localhost", "127.0.0.1")) as rag:
            rate = partial(measure_rate, plan.embedding_url, plan.embedding_key)
            answer, expected = register(rag, source, ref=ref, chunks_per_s=rate)
            follow(rag, answer["job"], answer["repository"]["name"], expected)
            scope = {"repositories": [answer["repository"]["id"]]} | ({"ref": ref} if ref else {})
            hits = _show_search(rag, question, scope)
            _show_answer(rag, question, scope, hits)
    except Failure as failure:
        if is_strict:
            raise Failure(failure.message, exit_code=1) from failure
        say(failure.message)


def _show_search(rag: Server, question: str, scope: Mapping[str, Any]) -> list[dict[str, Any]]:
    emit(f"\nsearch: {question}\n\n")
    result = rag.call("POST", "/v1/search", {"query": question, "limit": 10, **scope})
    say_degraded(result["degraded"])
    hits: list[dict[str, Any]] = result["hits"]
    if not hits:
        raise Failure(f"the search for {question!r} found nothing")
    out = console()
    for hit in hits[:SHOWN_HITS]:
        show_hit(out, hit, most_lines=SHOWN_LINES)
    return hits


def _show_answer(rag: Server, question: str, scope: Mapping[str, Any], hits: list[dict[str, Any]]) -> None:
    emit(f"ask: {question}\n\n")
    answer = stream_answer(rag, {"question": question, "stream": True, **scope})
    # That there is no model was said when the stack started.
    say_degraded([name for name in answer["degraded"] if name != "llm"])
    if answer["abstained"] or not answer["citations"]:
        raise Failure(f"the question {question!r} got no answer with citations")
    out, names = console(), repository_names(rag)
    if answer["mode"] == "extractive":
        # The answer itself is made of the cited lines.
        out.print()
        show_citations(out, answer["citations"], names)
        return
    for citation in answer["citations"]:
        out.print()
        out.print(
            f"[{citation['index']}] {printable(where(citation))}  {names.get(citation['repository'], '')}", markup=False
        )
        lines, language = _cited_lines(rag, citation, answer.get("hits") or hits)
        show_code(out, lines, language, citation["start_line"], SHOWN_LINES)
    out.print()


def _cited_lines(rag: Server, citation: Mapping[str, Any], hits: list[dict[str, Any]]) -> tuple[list[str], str]:
    """The lines that a citation points to, and their language."""
    start, end = citation["start_line"], citation["end_line"]
    for hit in hits:
        if hit["path"] == citation["path"] and hit["start_line"] <= start and end <= hit["end_line"]:
            return lines_of(hit)[start - hit["start_line"] : end - hit["start_line"] + 1], hit["language"]
    wanted = {name: citation[name] for name in ("repository", "path", "start_line", "end_line")}
    source = rag.call("GET", "/v1/source", params=wanted)
    return lines_of(source), source.get("language", "")


def _is_model_set(plan: Plan) -> bool:
    try:
        return httpx.get(plan.llm_url.removesuffix("/v1") + "/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def measure_rate(embedding_url: str, key: SecretStr | None = None) -> float | None:
    """Chunks a second that the embedding service makes of code-like texts; None where it cannot be asked."""
    # 48 lines of code-like words, about the 256 tokens of a full chunk; 32 of them take two cores about a second.
    # Each a text of its own that was never sent before: the service computes equal texts once, and keeps recent ones.
    lines = "\n".join(f"    result_{line} = self.compute(value, index={line})" for line in range(24))
    texts = [f"# {uuid.uuid4()}\n{lines}" for _ in range(32)]
    started = time.monotonic()
    try:
        answer = httpx.post(
            f"{embedding_url}/embed", json={"inputs": texts}, headers=bearer(key), timeout=60, trust_env=False
        )
    except httpx.HTTPError:
        return None
    return 32 / (time.monotonic() - started) if answer.status_code == 200 else None
