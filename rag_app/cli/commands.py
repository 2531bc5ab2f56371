"""The commands of `code-assistant`, each in a file beside this one; failures end here."""

import io
import os
import sys
from collections.abc import Sequence

import typer
from pydantic import ValidationError

from rag_app.cli.ask import ask, generate
from rag_app.cli.backup import backup, migrate, restore
from rag_app.cli.client import Failure
from rag_app.cli.doctor import doctor, status
from rag_app.cli.key import key
from rag_app.cli.logs import logs
from rag_app.cli.output import say
from rag_app.cli.repositories import index, repos
from rag_app.cli.search import search
from rag_app.cli.tune import evaluate, tune
from rag_app.cli.up import up

app = typer.Typer(
    help="Search your own code, ask it, and get answers whose citations can be checked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (up, index, search, ask, generate, status, doctor, key, logs, backup, restore, migrate, tune):
    app.command()(command)
app.command("eval")(evaluate)
app.add_typer(repos, name="repos")


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (`sys.argv` where None); ends the process with its exit code (130 after Ctrl-C)."""
    _write_in_any_encoding()
    try:
        _check_encoding(sys.argv[1:] if arguments is None else arguments)
        app(arguments)
    except Failure as failure:
        say(failure.message)
        sys.exit(failure.exit_code)
    except ValidationError as exc:  # the settings are all that a command validates
        for error in exc.errors():
            # Where several settings do not go together, what is shown as given would be all of them, keys included.
            given = f"={error['input']}" if error["loc"] else ""
            name = ".".join(str(part) for part in error["loc"]).upper() + given
            told = error["msg"].removeprefix("Value error, ")
            say(f"{name}{': ' if name else ''}{told}; it is set in the environment or in .env")
        sys.exit(2)


def _write_in_any_encoding() -> None:
    """Code holds characters that a terminal's encoding may lack: they become `?` there, and no failure.

    A stream that was closed (`>&-`) is None in Python; what goes there goes nowhere.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  it is open as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _check_encoding(arguments: Sequence[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as exc:
            raise Failure(f"{ascii(argument)[:100]} is not UTF-8, which is all that the server takes") from exc
