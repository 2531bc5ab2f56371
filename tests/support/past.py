"""Git repositories with a past of many commits, made at once: `git fast-import` takes them in one stream."""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

Step = tuple[str, Mapping[str, str | None]]  # (message, path -> text, None: deleted)

FIRST = 1_600_000_000
DAY_S = 86_400


def make_past(folder: Path, steps: Iterable[Step]) -> Path:
    """A work tree with one commit a step, a day apart."""
    folder.mkdir(parents=True)
    stream: list[bytes] = []
    for number, (message, files) in enumerate(steps):
        who = f"Ann <ann@example.org> {FIRST + number * DAY_S} +0000"
        stream.append(f"commit refs/heads/main\ncommitter {who}\n{_data(message)}".encode())
        for path, text in files.items():
            stream.append(f"D {path}\n".encode() if text is None else f"M 644 inline {path}\n{_data(text)}\n".encode())
    for words in (["init", "-q", "--initial-branch=main"], ["fast-import", "--quiet"], ["reset", "-q", "--hard"]):
        given = b"".join(stream) if words[0] == "fast-import" else b""
        subprocess.run(["git", *words], cwd=folder, input=given, check=True, capture_output=True)
    return folder


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}"
