"""Small files that survive a kill: whole or not there. And the lock that keeps a folder to one process."""

import fcntl
import os
import shutil
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import orjson

from service_kit.errors import Conflict

# Edge writes through memory maps, and a map that meets a full disk ends the process (SIGBUS, seen on a full volume).
# What grows is therefore refused while there is still room for a group of writes and the maps that it may add.
LEAST_FREE_BYTES = 256 << 20


def free_bytes(folder: Path) -> int:
    """What the volume of `folder` has left."""
    return shutil.disk_usage(folder).free


def size_bytes(folder: Path) -> int:
    """What the files of `folder` take on the disk; maps are sparse, so that their lengths say more."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` at once: after a crash it holds the old text or the new, never a part."""
    draft = path.with_name(path.name + ".tmp")
    with draft.open("wb") as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; a rename is not until its folder is synced."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock_folder(folder: Path) -> TextIOWrapper:
    """Hold `folder` for this process until the file is closed; fails with Conflict where another process has it."""
    file = (folder / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise Conflict(
            f"{folder} is in use by another vector_db (process {holder}); "
            "stop it, or set VECTOR_DB_DIR to another folder"
        ) from exc
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
