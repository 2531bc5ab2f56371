"""Ctrl-C, SIGTERM and SIGHUP as one exception, which can be held back while something must not be torn in two."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The user, or the system, wants an end. `number` is the signal's."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell reports for a program that this signal ended: 130 for Ctrl-C."""
        return 128 + self.number


class Interrupts:
    """Raises Interrupted in the main thread when an ending signal comes; `count` says how many came."""

    def __init__(self) -> None:
        """Changes nothing before `raised()`."""
        self.count = 0
        self._pending: int | None = None
        self._is_held = False

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Within the block the ending signals raise Interrupted. What handled them before does so again after it."""
        before = {number: signal.signal(number, self._on_signal) for number in ENDING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block signals are only counted; one that came is raised at its end."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._pending is not None:
            number, self._pending = self._pending, None
            raise Interrupted(number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if not self._is_held:
            raise Interrupted(number)
        self._pending = number
