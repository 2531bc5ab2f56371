"""Ctrl-C, SIGTERM and SIGHUP as one exception, which can be held back while something must not be torn in two."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The user, or the system, wants an end. `number` is the signal's; `left`, what could not be undone, in words."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.left = ""

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
        self._grace_s = 0.0
        self._deaf_until = 0.0

    @contextmanager
    def raised(self, grace_s: float = 0.0) -> Iterator[None]:
        """Within the block the ending signals raise Interrupted. What handled them before does so again after it.

        grace_s: for so long after one was raised others are only counted, so that what it makes to be undone is.
        """
        self._grace_s = grace_s
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
            raise self._interrupted(number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self._is_held:
            self._pending = number
        elif time.monotonic() >= self._deaf_until:
            raise self._interrupted(number)

    def _interrupted(self, number: int) -> Interrupted:
        self._deaf_until = time.monotonic() + self._grace_s
        return Interrupted(number)


@contextmanager
def put_off() -> Iterator[None]:
    """Within the block ending signals wait; after it the last of them is handled as it would have been before.

    For what must not be torn in two, and is short.
    """
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[-1])
