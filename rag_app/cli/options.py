"""Options that several commands share, declared once."""

from typing import Annotated, Any

import typer

from rag_app.cli.client import Server
from rag_app.cli.stack import own_server


def _or_own(given: str | None) -> str:
    return own_server() if given is None else given


ServerOption = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="CODE_ASSISTANT_URL",
        callback=_or_own,
        help="Address of the running server; by default the one of RAG_HOST and RAG_PORT.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the server's JSON, for programs.")]
VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Tell the request id, which `code-assistant logs` takes."),
]
RepoOption = Annotated[
    list[str] | None, typer.Option("--repo", metavar="NAME|ID", help="Only this repository; may be repeated.")
]
LangOption = Annotated[
    list[str] | None, typer.Option("--lang", metavar="LANGUAGE", help="Only this language; may be repeated.")
]
PathOption = Annotated[
    list[str] | None,
    typer.Option(
        "--path", metavar="PREFIX|GLOB", help="Only paths such as 'src/', 'app.py' or '**/test_*.py'; may be repeated."
    ),
]
RefOption = Annotated[str | None, typer.Option("--ref", help="Branch, tag or commit; the default one if left out.")]

# Read out of the settings when a command runs, not when this is imported.
DEFAULT_SERVER: Any = None


def filters(
    server: Server, repo: list[str] | None, lang: list[str] | None, path: list[str] | None, ref: str | None
) -> dict[str, Any]:
    """The filter fields of a request; names of repositories are looked up. What was not given is left out."""
    given = {
        "repositories": [server.repository(name)["id"] for name in repo or []],
        "languages": lang,
        "paths": path,
        "ref": ref,
    }
    return {name: value for name, value in given.items() if value}
