"""`code-assistant logs`: what became of one question, in all services, in the order in which it happened."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from rag_app.cli.client import Failure
from rag_app.cli.data_folder import hint_data_folder
from rag_app.cli.log_lines import LogLine, line_of, moment, shown
from rag_app.cli.log_sources import ComposeLogs, LogFiles, LogPipe, LogSource
from rag_app.cli.output import console, emit, say
from rag_app.cli.search import NOTHING_FOUND
from rag_app.core.settings import RagSettings

# A question leaves a dozen lines, an index job of 25,000 chunks some thousand.
MOST_LINES = 20_000

_LONGEST_ID = 128


def logs(
    request_id: Annotated[
        str,
        typer.Option(
            "--request-id", metavar="ID", help="Of an answer (`ask --verbose`, the header X-Request-ID) or a job."
        ),
    ],
    since: Annotated[str, typer.Option("--since", metavar="10m|2h|TIME", help="Only lines from then on.")] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C, with lines as they come.")
    ] = False,
    place: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DIR|compose|-",
            help="Log files, Compose's containers, or standard input; by default what is there.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they were written, in order.")] = False,
    pipe: Annotated[str | None, typer.Argument(metavar="[-]", help="The same as --from -.")] = None,
) -> None:
    """Show what every service logged of one question (or of one indexing job), sorted by time.

    Reads DATA_DIR/logs, which `code-assistant up` writes, and where that knows nothing of it `docker compose logs`.

    Exit code: 0 found, 1 no such line, 2 error.
    """
    if not request_id or len(request_id) > _LONGEST_ID:
        raise Failure(f"--request-id takes 1 to {_LONGEST_ID} characters")
    if pipe not in (None, "-"):
        raise Failure(f"{pipe!r}: only - can stand here; say where the logs are by --from")
    start = moment(since, datetime.now(UTC)) if since else ""
    tried = []
    for source in _sources(pipe or place, request_id):
        tried.append(source.name)
        if _show(source, request_id, start, follow=follow, as_json=as_json):
            return
    say(f"no line of request {request_id!r}{f' since {start}' if start else ''} in {', nor in '.join(tried)}")
    raise typer.Exit(NOTHING_FOUND)


def _sources(place: str | None, request_id: str) -> Iterator[LogSource]:
    """Where to look, in turn; a later one is made only where the one before had nothing."""
    if place == "-":
        yield LogPipe(sys.stdin.buffer)
    elif place == "compose":
        yield ComposeLogs()
    elif place is not None:
        yield LogFiles(Path(place).expanduser())
    else:
        settings = RagSettings()
        hint_data_folder(settings)
        files, compose = LogFiles(settings.data_dir.expanduser() / "logs"), ComposeLogs()
        if files.is_there:
            yield files
        if compose.is_there:
            yield compose
        elif not files.is_there:
            raise Failure(
                f"there are no logs in {files.name}, and no Compose project here; "
                "give --from a folder, or pipe them in; for a server in Compose, on its host: `docker compose logs "
                f"--no-color | docker compose exec -T rag-server code-assistant logs --request-id {request_id} -`"
            )


def _show(source: LogSource, request_id: str, start: str, *, follow: bool, as_json: bool) -> bool:
    """Print the lines of a source; returns whether there was one."""
    kept: deque[LogLine] = deque(maxlen=MOST_LINES)
    count = 0
    is_past = not (follow and isinstance(source, LogPipe | ComposeLogs))  # old lines first, sorted, where they end
    try:
        for found in source.lines(request_id.encode(), start, follow):
            line = None if found is None else _wanted(*found, request_id, start)
            count += line is not None
            if found is None:
                _print(sorted(kept, key=lambda line: line.time), as_json)
                kept.clear()
                is_past = False
            elif line is not None:
                kept.append(line)
                if not is_past:
                    _print([line], as_json)
                    kept.clear()
    except KeyboardInterrupt:
        return count > 0 or follow
    if count > MOST_LINES:
        say(f"the last {MOST_LINES:,} of {count:,} lines; --since leaves out more")
    return count > 0


def _wanted(place: str, text: str, request_id: str, start: str) -> LogLine | None:
    line = line_of(text, request_id, place)
    return None if line is None or (line.time and line.time < start) else line


def _print(lines: Iterable[LogLine], as_json: bool) -> None:
    out = console()
    for line in lines:
        if as_json:
            emit(line.as_json + "\n")
        else:
            out.print(shown(line))
