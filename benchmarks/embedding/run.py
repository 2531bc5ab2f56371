"""One run: start all servers, load them in turn, round after round, and end them."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import aiohttp
import numpy as np

from benchmarks.core import tree
from benchmarks.core.processes import DidNotStart, Others, Running, rotated
from benchmarks.embedding.loads import Load, LoadFailed, Measured, measure, vectors_of
from benchmarks.embedding.roof import measure_roof
from benchmarks.embedding.servers import Server, start
from benchmarks.embedding.texts import Texts

Say = Callable[[str], None]


@dataclass(slots=True)
class Result:
    """What one server did. measured: load name -> round -> figures. failures: what did not work, in words."""

    server: Server
    start_s: float | None = None
    memory: tree.Memory | None = None
    cosine: float | None = None  # lowest of its vectors with the naive server's, for the same texts
    measured: dict[str, dict[int, Measured]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All of a run.

    roofs: GFLOP per CPU-second of one thread, by library, for each round. others: the part of the machine's CPU that
    went to processes which are none of the run's: where it is not near 0, wall times say little, and threads that spin
    while they wait for one that does not run cost CPU, torch's above all.
    """

    results: list[Result]
    roofs: list[dict[str, float]]
    others: float = 0.0


def run(
    servers: Sequence[Server],
    loads: Sequence[Load],
    rounds: int,
    texts: Texts,
    folder: Path,
    say: Say,
    roof: Callable[[], dict[str, float]] = measure_roof,
) -> Outcome:
    """Measure. folder: for the servers' data and logs. say: called with a line for each step. roof: see measure_roof.

    Every process that was started has ended when this returns or fails, KeyboardInterrupt included.
    """
    results = {server.name: Result(server) for server in servers}
    roofs: list[dict[str, float]] = []
    others = Others()
    with ExitStack() as stack:
        running: list[Running[Server]] = []
        for server in servers:
            say(f"starting {server.name}")
            try:
                running.append(stack.enter_context(_started(server, folder, results[server.name])))
            except DidNotStart as exc:
                results[server.name].failures.append(f"did not start: {exc}")
        _compare_vectors(running, results, texts)
        starts = itertools.count(0, 509)  # a stride through the supply, so that rounds differ
        for number in range(rounds):
            roofs.append(roof())
            for load in loads:
                _one_load(rotated(running, number), load, number, texts, next(starts), results, say)
        for each in running:
            if not each.process.poll():
                results[each.server.name].memory = _memory(each)
    return Outcome(list(results.values()), roofs, others.part())


@contextmanager
def _started(server: Server, folder: Path, result: Result) -> Iterator[Running[Server]]:
    if server.starts:
        # The first start is not counted: it writes what later ones find, and brings the files into memory.
        start(server, folder).stop()
    taken: list[float] = []
    for _ in range(server.starts - 1):
        again = start(server, folder)
        taken.append(again.start_s)
        again.stop()
    running = start(server, folder)
    try:
        result.start_s = median([*taken, running.start_s])
        yield running
    finally:
        running.stop()


def _one_load(
    running: list[Running[Server]],
    load: Load,
    number: int,
    texts: Texts,
    start: int,
    results: dict[str, Result],
    say: Say,
) -> None:
    for each in running:
        result = results[each.server.name]
        if any(failure.startswith(load.name) for failure in result.failures):
            continue
        try:
            measured = asyncio.run(measure(each, load, texts, start))
        except (LoadFailed, ProcessLookupError) as exc:
            result.failures.append(f"{load.name}: {exc}")
            continue
        result.measured.setdefault(load.name, {})[number] = measured
        say(f"round {number + 1}, {load.name}, {each.server.name}: {measured.texts_per_cpu_s:.1f} texts/CPU-s")


def _compare_vectors(running: list[Running[Server]], results: dict[str, Result], texts: Texts) -> None:
    """Ask every server the same, which also warms it up, and compare with the naive one: do they run the same model?"""
    asked = texts.chunks(8, 0) + texts.queries(8, 0)
    answers: dict[str, np.ndarray[tuple[int, int], np.dtype[np.float64]]] = {}
    for each in running:
        try:
            answers[each.server.name] = np.array(asyncio.run(vectors_of(each, asked)))  # (16, dim)
        except (LoadFailed, aiohttp.ClientError, TimeoutError) as exc:
            results[each.server.name].failures.append(f"first request: {exc}")
    reference = answers.get("naive")
    if reference is None:
        return
    for name, vectors in answers.items():
        if vectors.shape == reference.shape:
            norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
            results[name].cosine = float(((vectors * reference).sum(axis=1) / norms).min())


def _memory(running: Running[Server]) -> tree.Memory | None:
    try:
        return tree.memory(running.pid)
    except ProcessLookupError:
        return None
