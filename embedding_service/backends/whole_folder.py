"""Folders under DATA_DIR that are there whole or not at all: what is made from a model's weights, once per content."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedding_service.backends.base import ModelError


def content_key(parts: Any) -> str:
    """Hex SHA-256 of everything that a folder is made of, as JSON: its name, so that two contents never share one."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill an empty folder, and move it to `folder` in one step, so that a reader never sees half of it.

    Where another process was first, its folder stays: the name says that the content is the same.
    Fails with ModelError where the disk does; what `write` raises passes.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            whole = Path(scratch) / "whole"
            whole.mkdir()
            write(whole)
            try:
                os.rename(whole, folder)
            except OSError:
                if not folder.is_dir() or not any(folder.iterdir()):
                    raise
    except OSError as exc:
        raise ModelError(f"cannot write to {folder.parent}: {exc}; set DATA_DIR") from exc
