"""`python -m llm_service.keys new <name>`: make a key. It is shown once; only its hash is kept."""

import argparse
import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from llm_service.admission.keys import KeyRing, digest_of, new_key


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 where the file cannot be used; argparse ends with 2 where a word is wrong.

    Standard output has the key on its first line, and with --file nothing else, so that a script can take it.
    """
    given = _parser().parse_args(arguments)
    key = new_key()
    stanza = stanza_of(given.name, key, given.requests_per_minute, given.tokens_per_minute)
    try:
        if given.file is None:
            KeyRing.parse(stanza.encode(), Path("the new stanza"))
        else:
            append(given.file, stanza)
    except (ValueError, OSError) as exc:
        sys.stderr.write(f"no key was made: {exc}\n")
        return 1
    sys.stderr.write("This is the key. It is shown once and kept nowhere; its user sends it as OpenAI's api_key.\n")
    sys.stdout.write(f"{key}\n")
    if given.file is None:
        sys.stdout.flush()
        sys.stderr.write("\nThis goes into the file that LLM_KEYS_FILE names:\n\n")
        sys.stdout.write(stanza)
    else:
        sys.stderr.write(f"{given.name!r} is in {given.file}; a gateway that runs takes it within seconds.\n")
    return 0


def stanza_of(name: str, key: str, requests_per_minute: int | None, tokens_per_minute: int | None) -> str:
    """The TOML that lets `key` in. name: where it is no name, KeyRing.parse says so of the stanza."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    lines = ["[[key]]", f'name = "{escaped}"', f'sha256 = "{digest_of(key).hex()}"']
    if requests_per_minute is not None:
        lines.append(f"requests_per_minute = {requests_per_minute}")
    if tokens_per_minute is not None:
        lines.append(f"tokens_per_minute = {tokens_per_minute}")
    return "\n".join(lines) + "\n"


def append(path: Path, stanza: str) -> None:
    """Add a stanza to a file, which is made where it is missing (mode 0600) and else keeps its mode.

    Whoever reads meanwhile sees the old file or the new one, and of two commands at a time none is lost. Fails with
    ValueError where the two together are no good keys file, and with OSError; the file is then as it was.
    """
    path = path.resolve()  # the file itself is replaced, not a link to it
    with _alone_in(path.parent):
        is_new = not path.exists()
        before = b"" if is_new else path.read_bytes()
        gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
        content = before + gap + stanza.encode()
        KeyRing.parse(content, path)
        _replace(path, content, 0o600 if is_new else path.stat().st_mode & 0o777)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        os.fsync(lock)  # the renaming itself
    finally:
        os.close(lock)


def _replace(path: Path, content: bytes, mode: int) -> None:
    # In the same folder, since only inside one file system a file is replaced at once. mkstemp gives it mode 0600.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m llm_service.keys", description="Keys of the LLM gateway.")
    new = parser.add_subparsers(required=True, metavar="command").add_parser("new", help="make a key")
    new.add_argument("name", help="whose it is; told where its limit is reached")
    new.add_argument("--requests-per-minute", type=int, metavar="N", help="refuse more than that")
    new.add_argument("--tokens-per-minute", type=int, metavar="N", help="prompt and completion together")
    new.add_argument("--file", type=Path, metavar="PATH", help="add it to this file, the one that LLM_KEYS_FILE names")
    return parser


if __name__ == "__main__":
    sys.exit(main())
