"""Where log lines are read: the files of `up`, Compose's containers, a pipe. In blocks, so that size is no matter."""

import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from rag_app.cli.client import Failure

# A search of a block for a few bytes runs at memory's speed; only blocks that hold them are cut into lines.
_BLOCK_BYTES = 1 << 20

# No service of ours writes a longer line; what a stranger writes beyond it is cut.
_MOST_LINE_BYTES = 1 << 20

_POLL_S = 0.25
_DOCKER_LIMIT_S = 30


class LogSource(Protocol):
    """Lines that hold certain bytes, in the order of each file."""

    name: str  # for messages

    def lines(self, needle: bytes, since: str, follow: bool) -> Iterator[tuple[str, str] | None]:
        """(place, line) of each line with `needle` in it; None where all that is there by now was read.

        since: the time before which lines are not wanted, "" for none; a source may give them all the same.
        """
        ...


class LogFiles:
    """The files that `code-assistant up` writes: a service each, `.log` of this run and `.log.1` of the one before."""

    def __init__(self, folder: Path):
        """folder: DATA_DIR/logs. Nothing is opened yet."""
        self.name = str(folder)
        self._folder = folder

    @property
    def is_there(self) -> bool:
        """Is there a file to read?"""
        return bool(self._paths())

    def lines(self, needle: bytes, since: str, follow: bool) -> Iterator[tuple[str, str] | None]:
        """See LogSource. A file that `up` begins anew while it is followed is read from its beginning."""
        if not self.is_there:
            raise Failure(f"{self._folder} holds no *.log; give --from the folder that does, or `--from compose`")
        readers: dict[tuple[int, int], _Reader] = {}
        try:
            while True:
                for path in self._paths():
                    self._open(path, needle, readers)
                for reader in readers.values():
                    yield from reader.read() if follow else reader.read_all()
                yield None
                if not follow:
                    return
                time.sleep(_POLL_S)
        finally:
            for reader in readers.values():
                reader.close()

    def _paths(self) -> list[Path]:
        return [*sorted(self._folder.glob("*.log.1")), *sorted(self._folder.glob("*.log"))]

    def _open(self, path: Path, needle: bytes, readers: dict[tuple[int, int], "_Reader"]) -> None:
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            return  # `up` renames them
        except OSError as exc:
            raise Failure(f"{path} cannot be read: {exc.strerror}") from exc
        about = path.stat()
        # A file is known by what it is and not by its name, which another one has after a restart.
        if (about.st_dev, about.st_ino) in readers:
            stream.close()
        else:
            readers[about.st_dev, about.st_ino] = _Reader(stream, path.name.split(".", 1)[0], needle)


class LogPipe:
    """Standard input, whatever wrote it."""

    name = "standard input"

    def __init__(self, stream: IO[bytes]):
        """stream: read to its end."""
        self._stream = stream

    def lines(self, needle: bytes, since: str, follow: bool) -> Iterator[tuple[str, str] | None]:
        """See LogSource. Followed, lines come as they are written."""
        yield from _Reader(self._stream, "", needle, is_lively=follow).read_all()
        yield None


class ComposeLogs:
    """The containers of the Compose project of this folder."""

    name = "`docker compose logs`"

    @property
    def is_there(self) -> bool:
        """Does this folder have a project with a container, and may we ask?"""
        if shutil.which("docker") is None:
            return False
        try:
            answer = _docker("ps", "--all", "--quiet")
        except (OSError, subprocess.TimeoutExpired):
            return False
        return answer.returncode == 0 and bool(answer.stdout.strip())

    def lines(self, needle: bytes, since: str, follow: bool) -> Iterator[tuple[str, str] | None]:
        """See LogSource. Followed, None never comes: Docker does not tell when the old ones end."""
        if shutil.which("docker") is None:
            raise Failure(
                "docker is not installed here; run this where the containers run, or pipe logs into `--from -`"
            )
        words = [
            "logs",
            "--no-color",
            "--timestamps",
            *(["--since", since] if since else []),
            *(["--follow"] if follow else []),
        ]
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(
                ["docker", "compose", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told
            )
            assert process.stdout is not None
            try:
                yield from _Reader(process.stdout, "", needle, is_lively=follow).read_all()
            finally:
                process.stdout.close()
                if process.poll() is None and follow:
                    process.terminate()
                code = process.wait()
            if code and not follow:
                told.seek(0)
                reason = told.read().decode("utf-8", "replace").strip().splitlines()[-1:] or [
                    f"it ended with code {code}"
                ]
                raise Failure(f"`docker compose logs` failed: {reason[0]}")
        yield None


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "compose", *words], capture_output=True, text=True, timeout=_DOCKER_LIMIT_S, check=False
    )


class _Reader:
    """A stream from where it was left. Memory is a block and a line, at any size."""

    def __init__(self, stream: IO[bytes], place: str, needle: bytes, *, is_lively: bool = False):
        """is_lively: take what there is, and do not wait until a block is full."""
        self._stream = stream
        self._place = place
        self._needle = needle
        self._rest = b""
        self._read1 = is_lively and isinstance(stream, io.BufferedReader)

    def read(self) -> Iterator[tuple[str, str]]:
        """The lines up to where the stream ends now. A last line without its end is kept for the next time."""
        while block := self._block():
            block = self._rest + block
            end = block.rfind(b"\n") + 1
            whole, self._rest = block[:end], block[end:]
            if len(self._rest) > _MOST_LINE_BYTES:
                self._rest = self._rest[:_MOST_LINE_BYTES]
            if self._needle in whole:
                for line in whole.split(b"\n"):
                    if self._needle in line:
                        yield self._place, line[:_MOST_LINE_BYTES].decode("utf-8", "replace")

    def read_all(self) -> Iterator[tuple[str, str]]:
        """The lines to the stream's end, one that a crash cut off too."""
        yield from self.read()
        if self._needle in self._rest:
            yield self._place, self._rest.decode("utf-8", "replace")

    def _block(self) -> bytes:
        if self._read1:
            assert isinstance(self._stream, io.BufferedReader)
            return self._stream.read1(_BLOCK_BYTES)
        return self._stream.read(_BLOCK_BYTES)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()
