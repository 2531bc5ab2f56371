"""The first thing that a request meets: is its key one of ours, and has it anything left?"""

from collections.abc import Iterable
from pathlib import Path

from llm_service.admission.keys import KeyRing, watched_keys
from llm_service.admission.limits import Account, RateLimits
from llm_service.core.watched import Watched


class Gate:
    """Checks the caller's key; open to all where there is no file of keys."""

    def __init__(self, keys: Watched[KeyRing] | None):
        """keys: swapped as the file changes; None: no key is asked for."""
        self.keys = keys
        self._limits = RateLimits()

    @classmethod
    def of(cls, path: Path | None) -> "Gate":
        """The gate that LLM_KEYS_FILE describes. Fails with ValueError where that file is bad."""
        return cls(None if path is None else watched_keys(path))

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Let in a caller who asks for nothing dear, such as the list of models. Fails with Unauthorized."""
        if self.keys is not None:
            self.keys.value.find(_authorization(headers))

    def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> Account | None:
        """Let one request in, and count it. What it used is told to the account; None: nobody counts.

        headers: ASGI's. Fails with Unauthorized, and with Overloaded where the key's minute is used up.
        """
        if self.keys is None:
            return None
        return self._limits.admit(self.keys.value.find(_authorization(headers)))


def _authorization(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"authorization":
            return value
    return None
