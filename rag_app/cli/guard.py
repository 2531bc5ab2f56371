"""Runs a service's module so that it never outlives the `up` that started it: `python -m rag_app.cli.guard MODULE`.

Standard input is a pipe that `up` holds open and never writes to. When `up` ends, however it ends (SIGKILL included),
the pipe closes and the service is told to end. This works on Linux and on a Mac, where PR_SET_PDEATHSIG does not exist.
"""

import os
import runpy
import signal
import sys
import threading
import time

# As long as a service may take to finish its requests (SHUTDOWN_GRACE_S, which `up` sets to 10), and a little.
GRACE_S = 12.0


def end_with_parent(descriptor: int = 0, grace_s: float = GRACE_S) -> None:
    """Watch `descriptor` in a thread; at its end, send SIGTERM to this process (and its group, if it leads one)."""
    threading.Thread(target=_watch, args=(descriptor, grace_s), name="guard", daemon=True).start()


def _watch(descriptor: int, grace_s: float) -> None:
    while os.read(descriptor, 1024):
        pass
    _signal_own(signal.SIGTERM)
    time.sleep(grace_s)
    _signal_own(signal.SIGKILL)


def _signal_own(number: signal.Signals) -> None:
    is_leader = os.getpgrp() == os.getpid()
    (os.killpg if is_leader else os.kill)(os.getpid(), number)


def main() -> None:
    """Run the module that the command line names as `__main__`, under watch."""
    end_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
