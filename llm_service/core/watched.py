"""A value that is read from files, and read again when they change: swapped whole, or not at all.

Editors and deployments replace files by renaming, Kubernetes by turning a link to another folder. So paths are looked
at, not open files, and a path by everything that tells one file from another. A look every two seconds needs no library
and works on any file system, network mounts included, which notify nobody.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Generic, TypeVar

from service_kit.secrets import ReadFile, content_of

_log = logging.getLogger("llm_service.watched")

T = TypeVar("T")

# Device, inode, size, time of content and time of inode; None where there is no file. Mode and owner are in the last.
_Stamp = tuple[int, int, int, int, int] | None

# Files that never keep still are read after so many looks.
_LOOKS = 20


class _Reading:
    """Reads files for one parse, and remembers which and what they were."""

    def __init__(self) -> None:
        self.stamps: dict[Path, _Stamp] = {}
        self._content = sha256()

    def read(self, path: Path) -> bytes:
        before = _stamp_of(path)  # of one that cannot be opened; asked before, or it might be there by now
        try:
            content, found = content_of(path)
        except OSError as exc:
            self._note(path, before, f"{exc.errno}".encode())
            raise ValueError(f"cannot read {path}: {exc.strerror}") from None
        self._note(path, _stamp(found), content)
        return content

    def digest(self) -> bytes:
        return self._content.digest()

    def _note(self, path: Path, stamp: _Stamp, content: bytes) -> None:
        self.stamps.setdefault(path, stamp)  # of two that differ the older one, so that the next look sees it
        self._content.update(f"{path}\0{len(content)}\0".encode() + content)


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _stamp_of(path: Path) -> _Stamp:
    try:
        return _stamp(os.stat(path))
    except OSError:
        return None


class Watched(Generic[T]):
    """`value` is always whole and good; `problem` says, in words, why newer files are not in force, None: they are."""

    def __init__(self, what: str, parse: Callable[[ReadFile], T], *, every_s: float = 2.0, settle_s: float = 0.1):
        """Reads at once, and fails as `parse` does: with ValueError in words.

        what: the setting that names the first file, for messages. parse: makes the value, reading every file that it
        depends on by the function that it gets; these are watched, those included that a failed parse asked for. The
        texts of its ValueErrors are logged and shown, so they hold no secret (pydantic's quote the input). every_s:
        from look to look. settle_s: a change is taken when two looks so far apart see the same, since a file may be
        half written.
        """
        self._what = what
        self._parse = parse
        self._every_s = every_s
        self._settle_s = settle_s
        reading = _Reading()
        self.value = parse(reading.read)
        self.problem: str | None = None
        self._stamps = reading.stamps
        self._read = reading.digest()
        self._refused = b""

    def reload(self) -> None:
        """Read the files now, as on SIGHUP. Never fails: bad files keep the old value, and are told of once.

        Files whose content is the same keep the value that they gave before, not one that is equal to it.
        """
        reading = _Reading()
        try:
            value = self._parse(reading.read)
        except Exception as exc:
            # Anything else than a ValueError is our fault, and its text may hold what a file holds.
            words = str(exc) if isinstance(exc, ValueError) else f"{type(exc).__name__} while reading it"
            self._refuse(words, reading.digest())
        else:
            self._accept(value, reading.digest())
        self._stamps = reading.stamps

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look for changes, in one task, until the block is left."""
        task = asyncio.create_task(self._watch(), name=f"watching {self._what}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)  # a look takes 2 us a file, reading 1,000 keys 19 ms
            if self._look() != self._stamps:
                await self._settle()
                self.reload()

    def _look(self) -> dict[Path, _Stamp]:
        return {path: _stamp_of(path) for path in self._stamps}

    async def _settle(self) -> None:
        seen = self._look()
        for _ in range(_LOOKS):
            await asyncio.sleep(self._settle_s)
            before, seen = seen, self._look()
            if seen == before:
                return

    def _accept(self, value: T, digest: bytes) -> None:
        self.problem, self._refused = None, b""
        if digest != self._read:
            self.value, self._read = value, digest
            _log.info("%s was read again and is in force", self._what)

    def _refuse(self, words: str, digest: bytes) -> None:
        self.problem = f"{self._what} has changed and is not used, what was read before stays in force: {words}"
        if digest != self._refused:
            self._refused = digest
            _log.warning(self.problem)
