"""What a run has finished, a line a question, written at once: a run that is killed goes on from here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.ragas.tape import append, mend, read


class OtherRun(Exception):
    """The folder holds a run of something else; the text says what differs."""


class Journal:
    """Finished questions by id, in the file `path`.

    made_of: what decides the figures (questions, metrics, judge, …). A file that was begun with another is refused
    with OtherRun: figures of two kinds would stand in one table.
    """

    def __init__(self, path: Path, made_of: Mapping[str, Any]) -> None:
        """Reads what is there, without a last line that was cut off; begins the file where it is not there."""
        self._path = path
        self.done: dict[str, dict[str, Any]] = {}
        lines = list(read(path)) if path.exists() else []
        if not lines:
            path.write_bytes(b"")
            append(path, {"made_of": dict(made_of)})
            return
        mend(path)
        before = lines[0].get("made_of", {})
        if differing := sorted(key for key in before.keys() | made_of.keys() if before.get(key) != made_of.get(key)):
            told = "; ".join(f"{key} was {before.get(key)!r:.80} and is {made_of.get(key)!r:.80}" for key in differing)
            raise OtherRun(f"{path} is of another run: {told}")
        self.done = {line["id"]: line for line in lines[1:]}

    def finish(self, line: dict[str, Any]) -> None:
        """Keep a finished question; its id is line["id"]."""
        self.done[line["id"]] = line
        append(self._path, line)
