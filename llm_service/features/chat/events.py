"""Server-sent events as bytes: cut where an event ends, and looked at only in their last few. Pure."""

import re

# The last event before [DONE] holds the counts; with a long list of choices it stays far under this.
_TAIL_BYTES = 4096

# An event longer than this is passed on in parts: a whole tool call in one delta is some 100 kB.
MAX_HELD_BYTES = 1_000_000

_FINISHED = re.compile(rb'\[DONE\]|"finish_reason":\s*"')
_TOKENS = re.compile(rb'"(prompt|completion)_tokens":\s*(\d+)')


class EventStream:
    """Passes bytes on unchanged, but only up to the end of a whole event.

    A stream that breaks in the middle of an event can then still be ended by an event that says so: what is held back
    is dropped, where half an event before it would make both unreadable.
    """

    def __init__(self) -> None:
        self._held = b""
        self._tail = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take what came; returns what may go out, b"" where no event is whole yet."""
        data = self._held + chunk if self._held else chunk
        self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        end = _end_of_last_event(data)
        if len(data) - end > MAX_HELD_BYTES:
            end = len(data)
        self._held = data[end:]
        return data[:end] if end < len(data) else data

    def rest(self) -> bytes:
        """What is still held, for a stream that ended well without an empty line."""
        return self._held

    @property
    def is_finished(self) -> bool:
        """Whether the model said that it was done; a server that dies may close its stream as if it were."""
        return _FINISHED.search(self._tail) is not None

    def tokens(self) -> dict[str, int]:
        """{"prompt", "completion"} where the stream's last event counts them (`stream_options.include_usage`)."""
        return {kind.decode(): int(count) for kind, count in _TOKENS.findall(self._tail)}


def _end_of_last_event(data: bytes) -> int:
    if data.endswith(b"\n\n"):
        return len(data)
    after_lf, after_crlf = data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n")
    return max(after_lf + 2 if after_lf >= 0 else 0, after_crlf + 4 if after_crlf >= 0 else 0)
