"""Calls that are made again when they fail."""

import time
from collections.abc import Callable


def with_backoff(call: Callable[[], bytes], attempts: int = 4, first_wait_s: float = 0.2) -> bytes:
    """Make a call up to `attempts` times; each wait is twice the one before. The last failure is raised."""
    wait_s = first_wait_s
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except ConnectionError:
            if attempt == attempts:
                raise
            time.sleep(wait_s)
            wait_s *= 2
    raise AssertionError("attempts must be at least 1")
