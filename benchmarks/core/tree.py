"""What a server costs: CPU and memory of its whole process tree, read from /proc. Linux only."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process tree, in MB (1e6 bytes).

    rss: resident, summed, so that a page shared by two processes counts twice. pss: such a page counts once, in parts.
    peak: the sum of each living process's own highest rss; at least the true peak, since they need not coincide.
    """

    rss_mb: float
    pss_mb: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class _Stat:
    pid: int
    parent: int
    session: int
    own_ticks: int
    ended_ticks: int  # of those of its children that ended and were waited for


def cpu_s(root: int) -> float:
    """User and system time, in s, that the tree under process `root` has used until now, ended children included.

    The tree is the descendants of `root`, and everything in its session: a child whose parent died stays in there. So
    start `root` with start_new_session=True. A child that ended counts through its parent, once that has waited for
    it, or as a zombie until then; one whose parent ignores SIGCHLD is lost. Resolution: microseconds, and 10 ms for a
    child that has ended.
    Fails with ProcessLookupError where `root` has ended.
    """
    return sum(_own_s(stat) + stat.ended_ticks / _TICKS_PER_S for stat in _members(root))


def machine_cpu_s() -> float:
    """User and system time, in s, that all processes of the machine have used since it started."""
    user, nice, system, _idle, _wait, interrupts, soft = map(int, (_PROC / "stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / _TICKS_PER_S


def rss_mb(root: int) -> float:
    """Resident memory of the tree under `root` now, in MB; cheap enough to sample. Fails as `memory` does."""
    pages = 0
    for stat in _members(root):
        try:
            pages += int((_PROC / str(stat.pid) / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it ended between two reads
            continue
    return pages * _PAGE_BYTES / 1e6


def memory(root: int) -> Memory:
    """Memory of the tree under `root` now. Fails with ProcessLookupError where `root` has ended."""
    rss = pss = peak = 0
    for stat in _members(root):
        folder = _PROC / str(stat.pid)
        try:
            own_rss = int((folder / "statm").read_text().split()[1]) * _PAGE_BYTES
            own_pss = _kb(folder / "smaps_rollup", "Pss:") * 1024
            own_peak = _kb(folder / "status", "VmHWM:") * 1024
        except (FileNotFoundError, ProcessLookupError):  # it ended between two reads
            continue
        rss, pss, peak = rss + own_rss, pss + own_pss, peak + own_peak
    return Memory(round(rss / 1e6, 1), round(pss / 1e6, 1), round(peak / 1e6, 1))


def pids(root: int) -> list[int]:
    """The processes of the tree under `root`, in no order; [] where all have ended."""
    try:
        return [stat.pid for stat in _members(root)]
    except ProcessLookupError:
        # The leader is gone: its session may live on.
        return [stat.pid for stat in _all() if stat.session == root]


def _members(root: int) -> list[_Stat]:
    everyone = {stat.pid: stat for stat in _all()}
    if root not in everyone:
        raise ProcessLookupError(f"process {root} has ended")
    leads_session = everyone[root].session == root
    return [
        stat
        for stat in everyone.values()
        if (leads_session and stat.session == root) or root in _ancestors(stat, everyone)
    ]


def _ancestors(stat: _Stat, everyone: dict[int, _Stat]) -> Iterator[int]:
    """The process itself, its parent, and so on up to init."""
    seen: set[int] = set()
    pid = stat.pid
    while pid in everyone and pid not in seen:
        seen.add(pid)
        yield pid
        pid = everyone[pid].parent


def _all() -> Iterator[_Stat]:
    for entry in os.listdir(_PROC):
        if not entry.isdigit():
            continue
        try:
            text = (_PROC / entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # The name, in parentheses, may hold spaces and parentheses itself. See proc(5) for the fields.
        fields = text[text.rindex(")") + 2 :].split()
        user, system, ended_user, ended_system = (int(value) for value in fields[11:15])
        yield _Stat(int(entry), int(fields[1]), int(fields[3]), user + system, ended_user + ended_system)


def _own_s(stat: _Stat) -> float:
    # Linux's clock of another process: its number is made of the pid's complement and 2, "scheduler time". See
    # clock_getcpuclockid(3), which Python does not offer. /proc tells the same in steps of 10 ms.
    try:
        return time.clock_gettime_ns((~stat.pid << 3) | 2) / 1e9
    except OSError:  # it ended between two reads
        return stat.own_ticks / _TICKS_PER_S


def _kb(path: Path, field: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0  # a zombie has no memory
