"""Follows a job to its end: a bar with rate and time left on a terminal, a plain line every few seconds elsewhere."""

import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from rag_app.cli.client import Failure, Server
from rag_app.cli.output import error_console, printable

# Often enough that a bar moves, seldom enough that asking costs the server nothing that shows.
POLL_S = 0.3

# A log of a long job stays readable.
PLAIN_LINE_EVERY_S = 5.0

# Below this the rate says more about start-up than about the job.
RATE_AFTER_S = 2.0


def follow(rag: Server, job: dict[str, Any], what: str, expected: int | None = None) -> dict[str, Any]:
    """Show a job's progress until it ends; returns it. Fails with the job's error where it did not succeed.

    expected: chunks that an estimate promised, for the time left.
    """
    out = error_console()
    last = job
    if out.is_terminal:
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[line]}"),
            TimeElapsedColumn(), console=out, transient=True,
        ) as bar:  # fmt: skip
            task = bar.add_task(f"indexing {printable(what)}", total=None, line="")
            for last in states(rag, job):
                _move(bar, task, last["progress"], expected)
    else:
        last = _follow_plainly(rag, job, what, expected, out)
    if last["state"] != "succeeded":
        error = last.get("error") or {}
        raise Failure(f"indexing {what} {last['state']}: {error.get('message', 'see the log of rag_app')}")
    out.print(f"indexed {printable(what)}: {summary(last['progress'])}", markup=False)
    return last


def _follow_plainly(rag: Server, job: dict[str, Any], what: str, expected: int | None, out: Console) -> dict[str, Any]:
    last, told_at = job, time.monotonic()
    for last in states(rag, job):
        if time.monotonic() - told_at >= PLAIN_LINE_EVERY_S:
            told_at = time.monotonic()
            out.print(f"indexing {printable(what)}: {describe(last['progress'], expected)}", markup=False)
    return last


def states(rag: Server, job: dict[str, Any], every_s: float = POLL_S) -> Iterator[dict[str, Any]]:
    """The job as it is each time it was asked for, until it is over."""
    while True:
        job = rag.call("GET", f"/v1/jobs/{job['id']}")
        yield job
        if job["state"] not in ("queued", "running"):
            return
        time.sleep(every_s)


def _move(bar: Progress, task: TaskID, progress: dict[str, Any], expected: int | None) -> None:
    done, left = progress.get("chunks_done", 0), chunks_left(progress, expected)
    total = None if left is None else done + left
    bar.update(task, total=total, completed=done, line=describe(progress, expected))


def chunks_left(progress: dict[str, Any], expected: int | None) -> float | None:
    """About how many chunks are still to come; None where nothing tells yet.

    An expectation (of bytes) falls with every chunk; files are done in batches, of unequal ones. So the first counts,
    and once half of the files are done it is kept within twice and half of what they tell.
    """
    files, total = int(progress.get("files_done", 0)), int(progress.get("files_total", 0))
    chunks = int(progress.get("chunks_done", 0))
    if not total:
        return None
    by_files = chunks * (total - files) / files if files else None
    if expected is None:
        return by_files
    left = max(expected - chunks, 0)
    if by_files is None or files < total / 2:
        return left
    return min(max(left, by_files / 2), by_files * 2)


def describe(progress: dict[str, Any], expected: int | None = None) -> str:
    """Files and chunks done, rate and time left, e.g. `120/1,204 files, 840 chunks, 61 chunks/s, about 2 min left`."""
    done, total = progress.get("files_done", 0), progress.get("files_total", 0)
    chunks = progress.get("chunks_done", 0)
    parts = [f"{done:,}/{total:,} files" if total else "looking for files", f"{chunks:,} chunks"]
    elapsed_s = progress.get("elapsed_ms", 0) / 1000
    if elapsed_s >= RATE_AFTER_S and chunks:
        parts.append(f"{chunks / elapsed_s:,.0f} chunks/s")
        if left := chunks_left(progress, expected):
            parts.append(f"about {duration(left * elapsed_s / chunks)} left")
    return ", ".join(parts)


def summary(progress: dict[str, Any]) -> str:
    """What a finished job did, in one line."""
    elapsed_s = progress.get("elapsed_ms", 0) / 1000
    if not progress.get("chunks_done"):
        return f"{progress.get('files_done', 0):,} files looked at in {duration(elapsed_s)}, nothing has changed"
    return (
        f"{progress.get('files_done', 0):,} files, {progress.get('chunks_done', 0):,} chunks "
        f"({progress.get('chunks_embedded', 0):,} embedded, {progress.get('chunks_reused', 0):,} reused) "
        f"in {duration(elapsed_s)}"
    )


def duration(seconds: float) -> str:
    """`0.4 s`, `42 s`, `3 min` or `2.5 h`: as exact as a reader needs."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
