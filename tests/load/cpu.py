"""Where the CPU goes while a load runs: each process tree, once a second, from /proc."""

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from types import TracebackType
from typing import Self

from benchmarks.core import tree

EVERY_S = 1.0


class Watch:
    """Samples CPU of process trees by name. Use it as a context; `series` then holds what was seen."""

    def __init__(self, roots: Mapping[str, int]):
        """roots: process ids by name. series: (s since the start, CPU-s since the start) of each; machine: of all."""
        self.series: dict[str, list[tuple[float, float]]] = {}
        self.machine: list[tuple[float, float]] = []
        self.peak_mb: dict[str, float] = {}
        self._roots = roots
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began = 0.0
        self._first: dict[str, float] = {}
        self._machine_first = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        self._began = time.perf_counter()
        self._first = {name: tree.cpu_s(pid) for name, pid in self._roots.items()}
        self._machine_first = tree.machine_cpu_s()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, with a last sample."""
        self._stop.set()
        self._thread.join()
        self._sample()

    def used_s(self) -> dict[str, float]:
        """CPU-s of each since the start."""
        return {name: round(points[-1][1], 3) for name, points in self.series.items() if points}

    def others_s(self) -> float:
        """CPU-s that everything else on the machine took meanwhile, this process included."""
        return max(self.machine[-1][1] - sum(self.used_s().values()), 0.0)

    def wall_s(self) -> float:
        """How long it watched."""
        return self.machine[-1][0]

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._sample()

    def _sample(self) -> None:
        at = time.perf_counter() - self._began
        for name, pid in self._roots.items():
            with suppress(ProcessLookupError):  # it ended: its last sample stays
                self.series.setdefault(name, []).append((at, tree.cpu_s(pid) - self._first[name]))
                self.peak_mb[name] = max(self.peak_mb.get(name, 0.0), tree.rss_mb(pid))
        self.machine.append((at, tree.machine_cpu_s() - self._machine_first))


def cores(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """(s, cores in use) between neighbouring samples of (s, CPU-s)."""
    return [
        (then_at, (then_s - before_s) / (then_at - before_at))
        for (before_at, before_s), (then_at, then_s) in pairwise(points)
        if then_at - before_at > EVERY_S / 10  # the last sample follows its neighbour by any distance
    ]


def core_count() -> int:
    """Cores of this machine."""
    return os.cpu_count() or 1
