"""`code-assistant search`: the hits of one search, for a reader, for grep's friends or for a program."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from rag_app.cli.client import Server
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
from rag_app.cli.output import (
    console,
    emit,
    grep_lines,
    part_of,
    printable,
    say,
    say_degraded,
    say_request,
    show_hit,
)

NOTHING_FOUND = 1


class Mode(StrEnum):
    """How to match: by meaning and keyword, by one of them, or by symbol."""

    HYBRID = "hybrid"
    DENSE = "dense"
    SPARSE = "sparse"
    SYMBOL = "symbol"


def search(
    query: Annotated[str, typer.Argument(help="What to look for: words, a question or a name.")],
    repo: RepoOption = None,
    lang: LangOption = None,
    path: PathOption = None,
    ref: RefOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Most hits to show.")] = 10,
    mode: Annotated[Mode, typer.Option(help="How to match.")] = Mode.HYBRID,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each score is made of.")] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """Find code by meaning, keyword and symbol.

    On a terminal: `path:start-end  symbol` and the code, best hit first.

    In a pipe: every line of every hit as `path:line:text`, as `grep -n` writes them, best hit first; paths are
    relative to the repository's root. With --explain there is a line `# query …` first, and each hit
    begins with a line `# score …`.

    Filters may stand in the query: lang:go path:src/**/*.py repo:name symbol:Pool.close; in double quotes, words.

    Exit code: 0 found, 1 nothing found, 2 error.
    """
    with Server(server) as rag:
        body: dict[str, Any] = {"query": query, "limit": limit, "mode": mode.value, "explain": explain}
        result = rag.call("POST", "/v1/search", body | filters(rag, repo, lang, path, ref))
        say_request(rag.request_id if verbose else "")
        if as_json:
            emit(json.dumps(result, indent=2) + "\n")
        else:
            say_degraded(result["degraded"])
            if explain:
                _show_query(result.get("query"))
            _show(rag, result["hits"], explain=explain)
    if not result["hits"]:
        raise typer.Exit(NOTHING_FOUND)


def _show(rag: Server, hits: list[dict[str, Any]], *, explain: bool) -> None:
    if not hits:
        say("nothing found" if rag.repositories() else "nothing is indexed yet; run `code-assistant index .`")
        return
    out = console()
    names = repository_names(rag) if out.is_terminal else {}
    for hit in hits:
        if out.is_terminal:
            several = len(names) > 1
            show_hit(out, hit, names.get(hit["repository"], "") if several else "", explain=explain)
        else:
            emit((_explained(hit) if explain else "") + grep_lines(hit))


def _show_query(asked: dict[str, Any] | None) -> None:
    """One line on how the query was read: its kind, the text that was searched, filters, whose weights held."""
    if asked is None:
        return
    # As JSON a pasted traceback is one line, too.
    filters = {name: values for name, values in asked["filters"].items() if values}
    told = f" filters={json.dumps(filters, ensure_ascii=False)}" if filters else ""
    text = json.dumps(asked["text"], ensure_ascii=False)
    emit(printable(f"# query kind={asked['kind']} text={text}{told} weights={asked['weights_from']}") + "\n")


def _explained(hit: dict[str, Any]) -> str:
    parts = " ".join(f"{name}={part_of(name, value, 4)}" for name, value in sorted(hit.get("scores", {}).items()))
    return f"# score={hit['score']:.4f} {parts} {hit['path']}:{hit['start_line']}-{hit['end_line']}\n"


def repository_names(rag: Server) -> dict[str, str]:
    """id -> name, for showing."""
    return {repository["id"]: repository["name"] for repository in rag.repositories()}
