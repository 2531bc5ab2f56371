"""Secrets in files of their own, as Docker and Kubernetes mount them. No text here says what a file holds."""

from pathlib import Path

from pydantic import SecretStr

from llm_service.core.watched import ReadFile, read_file

# Keys have up to some hundred characters and signed tokens some thousand. More is another file, named by mistake.
MAX_SECRET_BYTES = 10_000


def read_secret(path: Path, read: ReadFile = read_file) -> SecretStr:
    """The secret in a file, less one newline at its end. read: as Watched gives it, so that the file is watched.

    Fails with ValueError in words, where the file cannot be read, is empty, too large, or holds what no header can.
    """
    content = read(path)
    if len(content) > MAX_SECRET_BYTES:
        raise ValueError(f"{path} has {len(content)} bytes, and a secret at most {MAX_SECRET_BYTES}")
    secret = content.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise ValueError(f"{path} is empty, and should hold a secret")
    return checked_secret(secret.decode("latin-1"), str(path))


def checked_secret(secret: str, place: str) -> SecretStr:
    """A secret that a header can hold. Fails with ValueError, which names its place alone."""
    if not all("!" <= character <= "~" for character in secret):
        raise ValueError(f"{place} holds more than one line, spaces or other characters that no key has")
    return SecretStr(secret)
