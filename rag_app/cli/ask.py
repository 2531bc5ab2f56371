"""`code-assistant ask` and `generate`: an answer as it is written, code for an instruction, and what they draw on."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from rag_app.cli.client import Failure, Server, failure_of
from rag_app.cli.options import (
    DEFAULT_SERVER,
    JsonOption,
    LangOption,
    PathOption,
    RefOption,
    RepoOption,
    ServerOption,
    VerboseOption,
    filters,
)
from rag_app.cli.output import console, emit, error_console, printable, say, say_degraded, say_request, show_citations
from rag_app.cli.search import NOTHING_FOUND, repository_names


def ask(
    question: Annotated[str, typer.Argument(help="What you want to know about the code.")],
    repo: RepoOption = None,
    lang: LangOption = None,
    path: PathOption = None,
    ref: RefOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """Answer a question from the indexed code, as it is written, with the lines that it cites.

    Exit code: 0 answered, 1 nothing relevant was found, 2 error.
    """
    with Server(server) as rag:
        body = {"question": question, "stream": not as_json} | filters(rag, repo, lang, path, ref)
        if as_json:
            answer = rag.call("POST", "/v1/ask", body)
            emit(json.dumps(answer, indent=2) + "\n")
        else:
            answer = stream_answer(rag, body)
        say_request(rag.request_id if verbose else "")
        if not as_json:
            show_answers_sources(console(), rag, answer)
    if answer["abstained"]:
        raise typer.Exit(NOTHING_FOUND)


def stream_answer(rag: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Print the answer of POST /v1/ask while it is written; returns the final answer. Fails where the stream breaks."""
    final: dict[str, Any] | None = None
    written = ""
    for name, data in rag.events("POST", "/v1/ask", body):
        if name == "error":
            raise failure_of(data.get("error", data), is_fault=True)
        if name == "message":
            piece = str(data.get("delta") or "")
            written += piece
            emit(printable(piece))
        elif name == "final_answer":
            final = data
    if final is None:
        raise Failure(f"the answer of {rag.url} broke off; ask again, or see its log")
    if final["answer"].strip() != written.strip():
        # Markers that pointed to nothing were taken out after they had been streamed: the checked text is what counts.
        emit(("\n\n" if written else "") + printable(final["answer"]))
    emit("\n")
    return final


def show_answers_sources(out: Console, rag: Server, answer: dict[str, Any]) -> None:
    """What the answer went without (on standard error), and what it cites."""
    say_degraded(answer["degraded"])
    if answer["citations"]:
        out.print()
        show_citations(out, answer["citations"], repository_names(rag))


def generate(
    instruction: Annotated[str, typer.Argument(help="What to write.")],
    repo: RepoOption = None,
    lang: LangOption = None,
    path: PathOption = None,
    ref: RefOption = None,
    language: Annotated[str | None, typer.Option(help="Language to write in.")] = None,
    into: Annotated[str | None, typer.Option("--into", metavar="PATH", help="The file that the code is for.")] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """Write code for an instruction, after the repository's own code.

    The code goes to standard output, so that `> file.py` works; what it draws on, and whether it parses, to standard
    error. Exit code: 0 written, 1 written but it does not parse, 2 error.
    """
    with Server(server) as rag:
        body: dict[str, Any] = {"instruction": instruction} | filters(rag, repo, lang, path, ref)
        wanted = {"language": language, "path": into}
        answer = rag.call("POST", "/v1/generate", body | {name: value for name, value in wanted.items() if value})
        say_request(rag.request_id if verbose else "")
        if as_json:
            emit(json.dumps(answer, indent=2) + "\n")
        else:
            emit(answer["code"].rstrip("\n") + "\n")
            say_degraded(answer.get("degraded", []))
            show_citations(error_console(), answer["citations"], repository_names(rag))
    if answer["checks"].get("parses") is False:
        say("the code does not parse; read it before you use it")
        raise typer.Exit(NOTHING_FOUND)
