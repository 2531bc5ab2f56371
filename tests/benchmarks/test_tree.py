"""The account of a process tree, held against real processes that burn what they are told to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.core import tree

# A server whose workers burn CPU: `how` says what becomes of them. It answers on its output when all are done.
_SERVER = """
import subprocess, sys, time
BURN = "import time\\nwhile time.process_time() < 0.5: pass"
REST = "import time\\nprint(flush=True)\\ntime.sleep(60)"
how = sys.argv[1]
if how == "own":
    exec(BURN)
elif how == "ended":
    subprocess.run([sys.executable, "-c", BURN], check=True)
elif how == "living":
    child = subprocess.Popen([sys.executable, "-c", BURN + "\\n" + REST], stdout=subprocess.PIPE)
    child.stdout.readline()
elif how == "grandchild":
    between = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    subprocess.run([sys.executable, "-c", between, BURN], check=True)
elif how == "orphan":
    between = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=sys.stdout)"
    parent = subprocess.Popen([sys.executable, "-c", between, BURN + "\\n" + REST], stdout=subprocess.PIPE)
    parent.wait()
    parent.stdout.readline()
elif how == "memory":
    held = bytearray(80_000_000)
    held[::4096] = b"x" * len(held[::4096])
print("done", flush=True)
time.sleep(60)
"""


@contextmanager
def _server(how: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _SERVER, how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        yield process
    finally:
        for pid in tree.pids(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait(10)


@pytest.mark.parametrize("how", ["own", "ended", "living", "grandchild", "orphan"])
def test_cpu_counts_wherever_in_the_tree_it_was_burnt(how: str) -> None:
    with _server(how) as process:
        used_s = tree.cpu_s(process.pid)
    # 0.5 s were burnt; starting up to three interpreters takes 0.02 to 0.2 s each on a busy machine.
    assert 0.48 <= used_s < 1.4


def test_an_idle_server_uses_nothing() -> None:
    with _server("idle") as process:
        before = tree.cpu_s(process.pid)
        time.sleep(0.3)
        assert tree.cpu_s(process.pid) - before <= 0.02


def test_cpu_of_a_living_process_is_told_finer_than_in_steps_of_10_ms() -> None:
    with _server("idle") as process:
        # It has started and waits: what it used is a multiple of 10 ms once in a thousand times.
        steps = tree.cpu_s(process.pid) * 100
    assert abs(steps - round(steps)) > 1e-4


def test_cpu_of_others_is_not_counted() -> None:
    with _server("idle") as idle, _server("own"):
        assert tree.cpu_s(idle.pid) < 0.4


def test_what_any_process_burns_is_the_machines() -> None:
    before = tree.machine_cpu_s()
    with _server("own"):
        assert tree.machine_cpu_s() - before >= 0.48


def test_memory_is_that_of_the_tree() -> None:
    with _server("memory") as process, _server("idle") as idle:
        big, small = tree.memory(process.pid), tree.memory(idle.pid)
    # Of two equal interpreters one holds 80 MB more.
    assert 78 < big.rss_mb - small.rss_mb < 90
    assert 78 < big.pss_mb - small.pss_mb < 90
    assert big.peak_mb >= big.rss_mb - 1
    assert small.pss_mb < small.rss_mb


def test_memory_that_is_sampled_is_the_same() -> None:
    with _server("living") as process:
        assert abs(tree.rss_mb(process.pid) - tree.memory(process.pid).rss_mb) < 1
    with pytest.raises(ProcessLookupError):
        tree.rss_mb(process.pid)


def test_memory_of_a_child_is_added() -> None:
    with _server("living") as process, _server("idle") as alone:
        assert tree.memory(process.pid).rss_mb > 1.5 * tree.memory(alone.pid).rss_mb


def test_an_ended_server_has_no_account() -> None:
    with _server("idle") as process:
        pass
    with pytest.raises(ProcessLookupError):
        tree.cpu_s(process.pid)
    with pytest.raises(ProcessLookupError):
        tree.memory(process.pid)
    assert tree.pids(process.pid) == []
