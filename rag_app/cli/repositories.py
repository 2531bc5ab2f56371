"""`code-assistant index` and `repos`: what is indexed, and what shall be."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from rag_app.cli.client import Failure, Server
from rag_app.cli.estimate import measure
from rag_app.cli.options import DEFAULT_SERVER, JsonOption, RefOption, ServerOption
from rag_app.cli.output import console, emit, printable, say
from rag_app.cli.progress import follow

repos = typer.Typer(help="List, renew and remove indexed repositories.", no_args_is_help=False)

# scheme://…, or git's short form user@host:path. The server decides which schemes it takes.
_GIT_URL = re.compile(r"[a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+:", re.IGNORECASE)


def index(
    what: Annotated[str, typer.Argument(metavar="PATH|GIT_URL", help="A folder of this machine, or a git URL.")],
    name: Annotated[str | None, typer.Option(help="Name to show; by default the folder's.")] = None,
    ref: RefOption = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is indexed.")] = True,
    as_json: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """Index a repository, or renew it: only what changed is read again.

    Exit code: 0 indexed (or queued, with --no-wait), 2 error.
    """
    source = source_of(what)
    with Server(server) as rag:
        answer, expected = register(rag, source, name, ref)
        if wait:
            answer["job"] = follow(rag, answer["job"], answer["repository"]["name"], expected)
            answer["repository"] = rag.call("GET", f"/v1/repositories/{answer['repository']['id']}")
        if as_json:
            emit(json.dumps(answer, indent=2) + "\n")
        elif not wait:
            say(f"queued as job {answer['job']['id']}; see `code-assistant repos`")


def source_of(what: str) -> dict[str, str]:
    """A request's `source`: a git URL as it is, a path made absolute, since the server has another folder than we."""
    if not what.strip():
        raise Failure("name a folder or a git URL; this folder is `.`")
    if _GIT_URL.match(what):
        return {"type": "git", "url": what}
    path = Path(what).expanduser().absolute()
    if not path.is_dir():
        raise Failure(f"{what!r} is neither a folder ({path}) nor a git URL")
    return {"type": "path", "path": str(path.resolve())}


def register(
    rag: Server,
    source: dict[str, str],
    name: str | None = None,
    ref: str | None = None,
    chunks_per_s: Callable[[], float | None] = lambda: None,
) -> tuple[dict[str, Any], int | None]:
    """Index a source that may be known already; says on standard error how large it is.

    Returns (repository and job, about how many chunks it makes or None where that was not looked at).
    chunks_per_s: measures this machine's rate, for an estimate of the time; asked for folders that are new only.
    """
    known = next((found for found in rag.repositories() if _same(found, source, ref)), None)
    if known is not None and name in (None, known["name"]):
        expected = None
        if known.get("indexed_at"):
            say(f"{known['name']} is known: only what changed is indexed")
        else:
            say(f"{known['name']} was not indexed to its end: what was embedded then is kept")
            expected = _tell_size(source, chunks_per_s)
        return rag.call("POST", f"/v1/repositories/{known['id']}/sync"), expected
    expected = _tell_size(source, chunks_per_s)
    wanted = {"source": source, "name": name, "ref": ref}
    body = {key: value for key, value in wanted.items() if value}
    return rag.call("POST", "/v1/repositories", body), expected


def _tell_size(source: dict[str, str], chunks_per_s: Callable[[], float | None]) -> int | None:
    if source["type"] != "path":
        return None
    estimate = measure(Path(source["path"]))
    say(estimate.describe(chunks_per_s()))
    return estimate.chunks


def _same(known: dict[str, Any], source: dict[str, str], ref: str | None) -> bool:
    there = known.get("source") or {}
    is_same_place = all(there.get(key) == value for key, value in source.items())
    return is_same_place and ref in (None, known.get("ref"))


@repos.callback(invoke_without_command=True)
def list_repositories(
    context: typer.Context, as_json: JsonOption = False, server: ServerOption = DEFAULT_SERVER
) -> None:
    """List what is indexed. Exit code: 0 listed, 1 nothing is indexed, 2 error."""
    if context.invoked_subcommand is not None:
        return
    with Server(server) as rag:
        known = rag.repositories()
    if as_json:
        emit(json.dumps(known, indent=2) + "\n")
    elif known:
        _show_table(known)
    else:
        say("nothing is indexed yet; run `code-assistant index .`")
    if not known:
        raise typer.Exit(1)


@repos.command()
def delete(
    repository: Annotated[str, typer.Argument(metavar="NAME|ID")], server: ServerOption = DEFAULT_SERVER
) -> None:
    """Remove a repository from the index; its files stay where they are."""
    with Server(server) as rag:
        found = rag.repository(repository)
        rag.call("DELETE", f"/v1/repositories/{found['id']}")
    say(f"removed {found['name']} from the index")


@repos.command()
def sync(
    repository: Annotated[str, typer.Argument(metavar="NAME|ID")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is indexed.")] = True,
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """Index what changed in a repository since it was indexed last."""
    with Server(server) as rag:
        found = rag.repository(repository)
        answer = rag.call("POST", f"/v1/repositories/{found['id']}/sync")
        if wait:
            follow(rag, answer["job"], found["name"])
        else:
            say(f"queued as job {answer['job']['id']}; see `code-assistant repos`")


def _show_table(known: list[dict[str, Any]]) -> None:
    out = console()
    rows = [_row(repository) for repository in known]
    if not out.is_terminal:
        emit("".join("\t".join(row) + "\n" for row in rows))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("name", "state", "files", "chunks", "ref", "commit", "source", "id"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _row(repository: dict[str, Any]) -> tuple[str, ...]:
    source = repository.get("source") or {}
    return (
        printable(repository["name"]),
        repository["state"],
        f"{repository.get('files') or 0}",
        f"{repository.get('chunks') or 0}",
        repository.get("ref") or "-",
        (repository.get("commit") or "-")[:10],
        printable(source.get("path") or source.get("url") or "-"),
        repository["id"],
    )
