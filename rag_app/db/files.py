"""Small files that are whole or not there, and checksums of large ones."""

import os
from hashlib import sha256
from pathlib import Path

_PIECE_BYTES = 1 << 20


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old or the new; OSError where the disk is full."""
    draft = path.with_name(path.name + ".partial")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def checksum(path: Path) -> str:
    """SHA-256 of a file, hex."""
    told = sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            told.update(piece)
    return told.hexdigest()
