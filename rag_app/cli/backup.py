"""`code-assistant backup`, `restore` and `migrate`: the whole index, as the machine that holds DATA_DIR sees it."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rag_app.cli.client import Failure
from rag_app.cli.interrupts import ENDING, Interrupted
from rag_app.cli.output import emit, error_console, say
from rag_app.cli.progress import duration
from rag_app.clients.embedding import create_embedder
from rag_app.core.settings import RagSettings
from rag_app.db.qdrant_calls import Qdrant
from rag_app.features.backup.index_file import Backup, Report
from rag_app.features.backup.service import BackupService
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
    settings = RagSettings()
    started = time.monotonic()
    made = _run(lambda report: _back_up(settings, folder, with_cache, report))
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
    settings = RagSettings()
    started = time.monotonic()
    restored, warning = _run(lambda report: _restore(settings, folder, replace, report))
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


async def _back_up(settings: RagSettings, folder: Path, with_cache: bool, report: Report) -> Backup:
    qdrant = Qdrant(settings)
    try:
        return await BackupService(settings, qdrant).back_up(folder, with_cache=with_cache, report=report)
    finally:
        await qdrant.close()


async def _restore(settings: RagSettings, folder: Path, replace: bool, report: Report) -> tuple[Backup, str | None]:
    qdrant, embedder = Qdrant(settings), create_embedder(settings)
    try:
        return await BackupService(settings, qdrant, embedder).restore(folder, replace=replace, report=report)
    finally:
        await asyncio.gather(qdrant.close(), embedder.close())


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
            self._out.print(f"{what}: {done:,} of {total:,}", markup=False)
