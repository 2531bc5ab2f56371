"""Secrets in files of their own, as Docker and Kubernetes mount them. No text here says what a file holds."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

# Keys have up to some hundred characters and signed tokens some thousand. More is another file, named by mistake.
MAX_SECRET_BYTES = 10_000

# Returns a file's content, or fails with ValueError in words.
ReadFile = Callable[[Path], bytes]


def secret_of(
    value: SecretStr | None, path: Path | None, setting: str, read: ReadFile | None = None
) -> SecretStr | None:
    """The secret that a setting or the file of `<setting>_FILE` holds; None where neither does.

    An empty file holds none: a deployment names a file for each secret that there can be, and leaves empty those that
    its user does not have. A file that is not there is a mistake. read: another reader than read_file, to watch it.
    Fails with ValueError in words, where the file cannot be used, and where both hold a secret.
    """
    if path is None:
        return value
    try:
        found = _line_of(path, read or read_file)
    except ValueError as exc:
        raise ValueError(f"{setting}_FILE: {exc}") from None
    if found is not None and value is not None:
        raise ValueError(f"{setting} and {setting}_FILE are both set; keep one")
    return value if found is None else found


def read_secret(path: Path, read: ReadFile | None = None) -> SecretStr:
    """The secret in a file, less one newline at its end. read: another reader than read_file, to watch it.

    Fails with ValueError in words, where the file cannot be read, is empty, too large, or holds what no header can.
    """
    found = _line_of(path, read or read_file)
    if found is None:
        raise ValueError(f"{path} is empty, and should hold a secret")
    return found


def checked_secret(secret: str, place: str) -> SecretStr:
    """A secret that a header can hold. Fails with ValueError, which names its place alone."""
    if not all("!" <= character <= "~" for character in secret):
        raise ValueError(f"{place} holds more than one line, spaces or other characters that no key has")
    return SecretStr(secret)


def read_file(path: Path) -> bytes:
    """A regular file's content. Fails with ValueError in words."""
    try:
        return content_of(path)[0]
    except PermissionError as exc:
        # In a container the user is not the one who made the file, and nowhere named beside it.
        raise ValueError(f"cannot read {path}: {exc.strerror} for user {os.geteuid()}") from None
    except OSError as exc:
        raise ValueError(f"cannot read {path}: {exc.strerror}") from None


def content_of(path: Path) -> tuple[bytes, os.stat_result]:
    """A regular file's content, and what that very file is. Fails with OSError."""
    with open(path, "rb", opener=_open) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is not a regular file")
        return file.read(), found


def _line_of(path: Path, read: ReadFile) -> SecretStr | None:
    content = read(path)
    if len(content) > MAX_SECRET_BYTES:
        raise ValueError(f"{path} has {len(content)} bytes, and a secret at most {MAX_SECRET_BYTES}")
    secret = content.removesuffix(b"\n").removesuffix(b"\r")
    return checked_secret(secret.decode("latin-1"), str(path)) if secret else None


def _open(path: str, flags: int) -> int:
    # Not blocking, since opening a pipe that nobody writes to would stop the whole service.
    return os.open(path, flags | os.O_NONBLOCK)
