"""Which processes of this machine are alive, told by the kernel across containers: locks on files of the data folder.

A process number and a host's name tell it only where both are the reader's own. In a container the number is that of
another table and the name is made up; a lock is let go by the kernel however its process ends, in any container.
"""

import fcntl
import os
import socket
import uuid
from contextlib import suppress
from pathlib import Path

# Whoever sweeps may hold a new file for an instant, once or twice.
_TRIES = 10


class AliveMark:
    """One process's file, locked for as long as the process lives. The constructor touches nothing."""

    def __init__(self, folder: Path):
        """folder: on one file system for all processes; made by set()."""
        self._folder = folder
        self.name = uuid.uuid4().hex
        self._handle: int | None = None

    def set(self) -> None:
        """Make and lock the file, where it is not there any more or not yet. OSError where the disk does not let it."""
        for _ in range(_TRIES):
            if self._is_set():
                return
            self._close()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._folder / self.name, os.O_RDWR | os.O_CREAT, 0o600)
            with suppress(BlockingIOError):
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.pwrite(self._handle, f"{socket.gethostname()} {os.getpid()}\n".encode(), 0)  # for who looks
        if not self._is_set():
            raise OSError(f"cannot lock {self._folder / self.name}")

    def remove(self) -> None:
        """Say that this process is done."""
        if self._handle is not None:
            with suppress(OSError):
                (self._folder / self.name).unlink()
        self._close()

    def is_dead(self, name: str) -> bool:
        """Has the process of this name ended? Only for names that were set on this machine, and not our own."""
        path = self._folder / name
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Under the lock: a file that its owner is about to lock is made anew by it (set() looks).
            path.unlink(missing_ok=True)
        except OSError:
            return False
        finally:
            os.close(handle)
        return True

    def sweep(self) -> None:
        """Delete what processes left that were killed."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.name != self.name:
                    self.is_dead(path.name)

    def _is_set(self) -> bool:
        if self._handle is None:
            return False
        try:
            found, mine = os.stat(self._folder / self.name), os.fstat(self._handle)
        except OSError:
            return False
        if (found.st_dev, found.st_ino) != (mine.st_dev, mine.st_ino):
            return False
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nothing happens where it is ours
        except OSError:
            return False
        return True

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def kernel() -> str:
    """Names the running kernel. All containers of a machine have one; no two machines have the same."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()
