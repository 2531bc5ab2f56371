"""`code-assistant`: the program that a user calls. Small, so that Ctrl-C is heard before the rest is imported."""

import os
import signal
from collections.abc import Sequence
from types import FrameType


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (`sys.argv` where None); ends the process with its exit code (130 after Ctrl-C)."""
    # Importing the commands takes 0.4 s, in which a KeyboardInterrupt would end in a traceback of some library's
    # module; nothing is begun yet, so that nothing needs an orderly end.
    before = signal.signal(signal.SIGINT, _end_at_once)
    from rag_app.cli.commands import run

    signal.signal(signal.SIGINT, before)
    run(arguments)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
