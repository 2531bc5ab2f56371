"""`code-assistant backup`, `restore` and `migrate`: the whole index, as the machine that holds DATA_DIR sees it."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import SecretStr
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rag_app.cli.client import Failure
from rag_app.cli.data_folder import hint_data_folder
from rag_app.cli.interrupts import ENDING, Interrupted
from rag_app.cli.output import emit, error_console, say
from rag_app.cli.progress import duration
from rag_app.core.settings import RagSettings
from rag_app.features.backup.index_file import Backup, Report
from service_kit.errors import ServiceError

T = TypeVar("T")

# A log of a long backup stays readable.
PLAIN_LINE_EVERY_S = 5.0

JsonOption = Annotated[bool, typer.Option("--json", help="Print what was done as JSON, for programs.")]

_DOING = {
    "points": "copying points",
    "changes": "reading again what changed meanwhile",
    "manifest": "copying the manifest",
    "cache": "copying the embedding cache",
    "verifying": "verifying",
    "switching": "switching over",
}


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Absent or empty; becomes the backup.")],
    with_cache: Annotated[
        bool, typer.Option("--with-cache", help="The embedding cache too: spares computing vectors of old versions.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Back the index up into DIR, while the server serves and indexes; run it where DATA_DIR is and Qdrant is reached.

    Exit code: 0 done, 1 a service or the disk failed, 2 refused, 130 Ctrl-C. What was not finished leaves nothing.
    """
    from rag_app.cli import backup_work

    settings = RagSettings()
    hint_data_folder(settings)
    started = time.monotonic()
    made = _run(lambda report: backup_work.back_up(settings, folder, with_cache, report))
    told = _figures(made, folder, time.monotonic() - started)
    if as_json:
        emit(json.dumps(told) + "\n")
    else:
        say(
            f"backed up {made.chunks:,} chunks of {made.files:,} files ({', '.join(made.repositories) or 'none'}), "
            f"{made.bytes / 1e6:,.0f} MB in {duration(told['took_s'])}, into {folder}"
        )


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `code-assistant backup` made.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of an index that is there, which is deleted.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put the index back out of DIR; run it where DATA_DIR is and Qdrant is reached. The server may run, and not index.

    Exit code: 0 done, 1 a service or the disk failed, 2 refused and nothing touched, 130 Ctrl-C. After 1 and 130 what
    was served before is served still, and a second run goes on.
    """
    from rag_app.cli import backup_work

    settings = RagSettings()
    hint_data_folder(settings)
    started = time.monotonic()
    restored, warning = _run(lambda report: backup_work.restore(settings, folder, replace, report))
    told = _figures(restored, folder, time.monotonic() - started)
    if warning:
        say(f"warning: {warning}")
    if as_json:
        emit(json.dumps(told) + "\n")
    else:
        say(
            f"restored {restored.chunks:,} chunks of {restored.files:,} files "
            f"({', '.join(restored.repositories) or 'none'}) in {duration(told['took_s'])}"
        )


def migrate(
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="The store that the index shall be in.")],
    to_key_file: Annotated[
        Path | None, typer.Option("--to-key-file", metavar="FILE", help="A file that holds the key of that store.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Carry the index from QDRANT_HOST:QDRANT_PORT to another store, such as a Qdrant server, and verify every point.

    The old store is left as it is. A second run carries only what the first did not. The server may run, and not index.

    Exit code: 0 done, 1 a service failed, 2 refused, 130 Ctrl-C.
    """
    settings = RagSettings()
    other = settings.model_copy(update=_place(to, to_key_file))
    if (other.qdrant_host, other.qdrant_port) == (settings.qdrant_host, settings.qdrant_port):
        raise Failure(f"--to {to} is where the index is now (QDRANT_HOST, QDRANT_PORT)")
    from rag_app.cli import backup_work

    started = time.monotonic()
    moved = _run(lambda report: backup_work.migrate(settings, other, report))
    told = {**asdict(moved), "took_s": round(time.monotonic() - started, 3)}
    if as_json:
        emit(json.dumps(told) + "\n")
        return
    say(
        f"{moved.points:,} points are in {to} and were compared one by one ({moved.written:,} written, "
        f"{moved.removed:,} removed) in {duration(told['took_s'])}"
    )
    say(
        f"now set QDRANT_HOST={other.qdrant_host} and QDRANT_PORT={other.qdrant_port} in .env"
        f"{' and QDRANT_API_KEY to its key' if to_key_file else ''} and restart the server; what is indexed before "
        "that goes to the old store: run this once more first then"
    )


def _place(to: str, key_file: Path | None) -> dict[str, Any]:
    host, _, port = to.rpartition(":")
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise Failure(f"--to {to!r} is no address; give HOST:PORT, such as qdrant.internal:6333")
    place: dict[str, Any] = {"qdrant_host": host, "qdrant_port": int(port), "qdrant_api_key": None}
    if key_file is not None:
        try:
            place["qdrant_api_key"] = SecretStr(key_file.read_text("utf-8").strip())
        except OSError as exc:
            raise Failure(f"cannot read --to-key-file {key_file}: {exc.strerror}") from exc
    return place


def _figures(backup: Backup, folder: Path, took_s: float) -> dict[str, Any]:
    return {
        "folder": str(folder.absolute()),
        "id": backup.id,
        "repositories": backup.repositories,
        "files": backup.files,
        "chunks": backup.chunks,
        "bytes": backup.bytes,
        "took_s": round(took_s, 3),
    }


def _run(work: Callable[[Report], Coroutine[Any, Any, T]]) -> T:
    """Run `work(report)` to its end, with progress; failures and signals in the command line's way."""
    try:
        with _Told() as report:
            return asyncio.run(_until_signal(work(report)))
    except Interrupted as end:
        raise Failure("broken off; nothing half is left", exit_code=end.exit_code) from end
    except ServiceError as exc:
        raise Failure(exc.message, exit_code=1 if exc.status >= 500 else 2) from exc


async def _until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Cancel the work where a signal wants an end, so that it tidies up; Interrupted then."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    came: list[int] = []

    def end(number: int) -> None:
        came.append(number)
        task.cancel()

    for number in ENDING:
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if came:
            raise Interrupted(came[0]) from None
        raise
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)


class _Told:
    """Progress on standard error: a bar on a terminal, a plain line every few seconds elsewhere."""

    def __init__(self) -> None:
        self._out = error_console()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._told_at = time.monotonic()

    def __enter__(self) -> Report:
        if self._out.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
            self._bar = Progress(*columns, TimeElapsedColumn(), console=self._out, transient=True)
            self._bar.start()
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _report(self, stage: str, done: int, total: int) -> None:
        what = _DOING.get(stage, stage)
        if self._bar is not None:
            if stage != self._stage or self._task is None:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task, self._stage = self._bar.add_task(what), stage
            self._bar.update(self._task, completed=done, total=max(total, 1))
        elif time.monotonic() - self._told_at >= PLAIN_LINE_EVERY_S:
            self._told_at = time.monotonic()
            self._out.print(f"{what}: {done:,} of {total:,}" if total > 1 else what, markup=False)
