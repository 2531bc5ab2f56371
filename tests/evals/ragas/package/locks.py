"""Locks on folders, so that two indexers never write to one."""

import os
import time
from pathlib import Path


class FolderLocked(Exception):
    """Another process holds the folder."""


def take(folder: Path, timeout_s: float = 5.0) -> Path:
    """Take the lock of a folder and return its file. Fails with FolderLocked after timeout_s."""
    file = folder / ".lock"
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            os.close(os.open(file, os.O_CREAT | os.O_EXCL))
            return file
        except FileExistsError:
            if time.monotonic() > deadline:
                raise FolderLocked(f"{folder} is locked by another process") from None
            time.sleep(0.05)


def release(folder: Path) -> None:
    """Give the lock of a folder back; one that is not held is no error."""
    (folder / ".lock").unlink(missing_ok=True)
