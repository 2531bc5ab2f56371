"""Runs a command in a process group of its own, all of which ends when this process's standard input does.

For servers that start processes themselves: however the holder of the pipe's other end goes, SIGKILL included, nothing
of the group outlives it. Run as `python -m tests.support.leashed COMMAND …`.
"""

import os
import signal
import subprocess
import sys
import threading

# vLLM ends in about a second; with open requests it never would.
GRACE_S = 5.0


def main(command: list[str]) -> int:
    """Returns the command's exit status, negative where a signal ended it."""
    is_over = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: is_over.set())
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_wait_for_end_of_input, args=(is_over,), daemon=True).start()
    while process.poll() is None and not is_over.wait(0.1):
        pass
    _tell(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _tell(process.pid, signal.SIGKILL)
    return process.wait()


def _wait_for_end_of_input(is_over: threading.Event) -> None:
    # Not sys.stdin: its lock, held here, would stop the interpreter from ending.
    while os.read(0, 4096):
        pass
    is_over.set()


def _tell(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
