"""Bytes of a file into text, or the reason why it is left out."""

import codecs
import errno
import os
import re
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from charset_normalizer import from_bytes

from rag_app.features.indexing.secrets import holds_key, is_asked_for
from rag_app.features.indexing.walk import lasting_stamp

# One line of this length is data, not text that somebody wrote: a bundle, a dump, an image in base64.
MAX_LINE_CHARS = 20_000
# Minifiers leave lines of thousands; people's files stay under 120 on average.
MAX_MEAN_LINE_CHARS = 400
_MIN_CHARS_FOR_MEAN = 4_000

# Guessing an encoding costs by the byte, and a sample tells.
_SAMPLE_BYTES = 32_000

# What tools write at the top of what they make.
_HEAD_CHARS = 1_000
_GENERATED = re.compile(
    # In a comment: code that speaks of generated files is somebody's.
    r"^[ \t]*(?:#|//|/?\*|--|<!--|;|%)[^\n]{0,200}?"
    r"(?:@generated\b|code generated\b.{0,200}?\bdo not edit|generated (?:by|from)\b.{0,200}?\bdo not (?:edit|modify)"
    r"|auto-?generated\b.{0,200}?\bdo not (?:edit|modify)|do not (?:edit|modify)\b.{0,200}?\bgenerated (?:by|from))",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)

_MARKS = (  # the longer first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Read:
    """A file that was read. reason: why it is left out, None where `text` is to be indexed.

    blob: SHA-256 of its bytes, hex, "" where it was not read. signature: of the file as it was read.
    """

    path: str
    blob: str = ""
    text: str = ""
    signature: str = ""
    reason: str | None = None


def read(root: Path, path: str, *, max_file_bytes: int, include: Sequence[str] = ()) -> Read:
    """Read one file below `root`. include: the patterns by which it was listed; one may ask for a key by its name.

    Reasons: vanished, unreadable, symlink, special, too_large (it may have changed since it was listed), secret (a
    private key, whatever its name), and those of judge().
    """
    try:
        data, status = _bytes(root / path, max_file_bytes)
    except FileNotFoundError:
        return Read(path, reason="vanished")
    except OSError as exc:
        return Read(path, reason="symlink" if exc.errno == errno.ELOOP else "unreadable")
    if not stat.S_ISREG(status.st_mode):
        return Read(path, reason="special")
    if len(data) > max_file_bytes:
        return Read(path, reason="too_large")
    text = decode(data)
    reason = "binary" if text is None else judge(text)
    if reason is None and text and holds_key(path, text) and not is_asked_for(path, include):
        reason = "secret"
    return Read(path, sha256(data).hexdigest(), text or "", lasting_stamp(status, time.time()), reason)


def decode(data: bytes) -> str | None:
    """The text of a file: by its byte order mark, as UTF-8, or by a guess; None where it is not text."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data, encoding)
    if b"\0" in data:
        return None
    text = _decoded(data, "utf-8")
    if text is not None:
        return text
    matches = from_bytes(data[:_SAMPLE_BYTES])
    best = matches.best()
    if best is None:
        return None
    # A few accented letters read as well in a dozen code pages; then the most used one is the best guess.
    equals = {match.encoding for match in matches if (match.chaos, match.coherence) == (best.chaos, best.coherence)}
    return _decoded(data, "cp1252" if "cp1252" in equals else best.encoding)


def judge(text: str) -> str | None:
    """Why a text is left out: "empty", "binary" (NUL in it), "minified" or "generated"; None where it is indexed."""
    if not text.strip():
        return "empty"
    if "\0" in text:
        return "binary"
    lines = text.split("\n")
    is_dense = len(text) > _MIN_CHARS_FOR_MEAN and len(text) / len(lines) > MAX_MEAN_LINE_CHARS
    if is_dense or max(map(len, lines)) > MAX_LINE_CHARS:
        return "minified"
    return "generated" if _GENERATED.search(text[:_HEAD_CHARS]) else None


def _bytes(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    # O_NONBLOCK: a pipe put in the file's place must not hold us. O_NOFOLLOW: nor a link lead us out.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        # One byte more than allowed tells that it has grown.
        return (file.read(limit + 1) if stat.S_ISREG(status.st_mode) else b""), status


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None
