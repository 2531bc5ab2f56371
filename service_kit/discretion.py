"""What a log line may tell of failures and of libraries: where and of which kind, never the text.

The text of an exception may quote what was being worked on (a line of code, a prompt, a key), and so may a message that
a library wrote. Both are shown whole at DEBUG only.
"""

import logging
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

WITHHELD = "a library's own words, which may quote what it was given; LOG_LEVEL=DEBUG shows them"

# Of a recursion without end, the way in and the way down.
_MOST_FRAMES = 40

# Their messages without arguments are constants, read in their sources; asyncio adds lines that show objects.
_PLAIN_SPOKEN = frozenset({"uvicorn", "asyncio"})

# "Exception in callback f(arguments)", "Task was destroyed but it is pending!": up to the objects.
_ASYNCIO = re.compile(r"Exception in callback|[\w' !,.-]+")

# What starlette hands uvicorn where a start fails is a traceback's text. Its first line that is not indented names the
# exception, or its cause; what comes after it may be lines of the exception's own text.
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)


def told_exception(exc: BaseException) -> str:
    """The exception's types and frames, its causes first, as Python's own traceback orders them, without any text."""
    return "\n".join(_lines(exc, frozenset()))


def told_message(record: logging.LogRecord) -> str:
    """A library's message without what was put into it: its template, or for one without arguments what is known."""
    if not isinstance(record.msg, str):
        return WITHHELD
    if record.args:
        return record.msg
    library = record.name.partition(".")[0]
    if library not in _PLAIN_SPOKEN:
        return WITHHELD
    if record.msg.startswith("Traceback "):
        raised = _RAISED.search(record.msg)
        return f"failed with {raised.group(1)}" if raised else WITHHELD
    first = record.msg.partition("\n")[0]
    if library == "asyncio":
        plain = _ASYNCIO.match(first)
        return plain.group() if plain else WITHHELD
    return first


def _lines(exc: BaseException, seen: frozenset[int]) -> Iterator[str]:
    seen |= {id(exc)}
    before = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        yield "which led to:"
    frames = traceback.extract_tb(exc.__traceback__)
    half = _MOST_FRAMES // 2
    kept = frames if len(frames) <= _MOST_FRAMES else [*frames[:half], *frames[-half:]]
    for frame in kept:
        yield f"  {_short(frame.filename)}:{frame.lineno} in {frame.name}"
    if len(kept) < len(frames):
        yield f"  ({len(frames) - len(kept)} more between these)"
    yield f"{type(exc).__module__}.{type(exc).__qualname__}".removeprefix("builtins.")
    if isinstance(exc, BaseExceptionGroup):
        for member in exc.exceptions:
            if id(member) not in seen:
                yield "of which:"
                yield from _lines(member, seen)


def _short(filename: str) -> str:
    """The last folders of a source file's path: where Python and the user live is nobody's business."""
    return "/".join(Path(filename).parts[-3:])
