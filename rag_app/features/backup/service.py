"""What may be done with a whole index: back it up, put it back, move it. Knows neither HTTP nor the command line."""

import fcntl
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rag_app.clients.embedding import Embedder
from rag_app.core.settings import RagSettings
from rag_app.db.files import write_whole
from rag_app.db.qdrant_calls import Qdrant
from rag_app.features.backup.index_file import (
    CACHE,
    INDEX,
    MANIFEST,
    SETTINGS,
    UNFINISHED,
    Backup,
    Report,
    silent,
)
from rag_app.features.backup.move import Moved, Moving
from rag_app.features.backup.put_back import PuttingBack
from rag_app.features.backup.take import Taking
from service_kit.errors import Conflict, Unavailable

LAST_BACKUP = "last_backup.json"

_MARK = "A backup that is being taken, or was killed. `code-assistant backup` into this folder begins it anew.\n"
# What a folder holds in which one was begun.
_OF_ONE_BEGUN = {UNFINISHED, "points", "work", MANIFEST, CACHE, SETTINGS, f"{SETTINGS}.partial", f"{INDEX}.partial"}


class BackupService:
    """Backups of the index that the settings name, into and out of folders."""

    def __init__(self, settings: RagSettings, qdrant: Qdrant, embedder: Embedder | None = None):
        """qdrant, embedder: closed by whoever made them. Without an embedder the model is not compared."""
        self._settings = settings
        self._qdrant = qdrant
        self._embedder = embedder

    async def back_up(self, folder: Path, *, with_cache: bool = False, report: Report = silent) -> Backup:
        """Take a backup into a folder that is absent or empty, while the index is used and changed.

        Conflict where the folder holds something or there is no index, Unavailable where the disk is full. What was
        written by then is removed, also where the caller is cancelled.
        """
        with _told(folder), _claimed(folder):
            backup = await Taking(folder, self._settings, self._qdrant, report).take(with_cache=with_cache)
        with _told(self._settings.data_dir):
            _note(self._settings, folder, backup)
        return backup

    async def restore(
        self, folder: Path, *, replace: bool = False, report: Report = silent
    ) -> tuple[Backup, str | None]:
        """Put a backup back; also a warning where the embedding model could not be compared.

        Conflict, before anything is touched, where it is damaged, of a newer program or another model, or where there
        is an index already and not `replace`; Unavailable where a service or the disk fails: what was served before is
        served still then, and a second run goes on.
        """
        with _told(self._settings.data_dir):
            work = PuttingBack(folder, self._settings, self._qdrant, report)
            backup, warning = await work.check(self._embedder)
            await work.put_back(backup, replace=replace)
        return backup, warning

    async def migrate(self, target: Qdrant, *, report: Report = silent) -> Moved:
        """Carry the points to another store and verify them there; a second run carries what the first did not.

        Conflict where a job runs, there is no index, or the target serves another one; Unavailable or Upstream where a
        store fails. The source is left as it is.
        """
        return await Moving(self._settings, self._qdrant, target, report).move()


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Mark a folder as one that a backup is being taken into, and leave it as it was where that fails.

    Conflict where it holds something, or another backup is being taken into it.
    """
    made = not folder.exists()
    if not made and not folder.is_dir():
        raise Conflict(f"{folder} is a file; name a folder that is absent or empty")
    if not made and any(folder.iterdir()) and not _was_begun(folder):
        what = "a backup" if (folder / INDEX).exists() else "something"
        raise Conflict(f"{folder} holds {what} already; name a folder that is absent or empty, such as one by its date")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # it holds the source code
    with (folder / UNFINISHED).open("a") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets it go however this process ends
        except BlockingIOError:
            raise Conflict(f"a backup is being taken into {folder}; wait for it, or name another folder") from None
        if (folder / INDEX).exists():  # the other one ended between the look and the lock
            raise Conflict(f"{folder} holds a backup already; name a folder that is absent or empty")
        _empty(folder)
        mark.truncate(0)
        mark.write(_MARK)
        mark.flush()
        try:
            yield
        except BaseException:
            _empty(folder)
            (folder / UNFINISHED).unlink(missing_ok=True)  # last, so that a kill leaves a folder that says what it is
            if made:
                folder.rmdir()
            raise


def _was_begun(folder: Path) -> bool:
    """Is what is in it of a backup that was killed, or is being taken? A file of that name may be anybody's."""
    try:
        told = (folder / UNFINISHED).read_text()
    except (OSError, ValueError):
        return False
    return _MARK.startswith(told) and {path.name for path in folder.iterdir()} <= _OF_ONE_BEGUN


def _empty(folder: Path) -> None:
    """Remove what a backup wrote, but for its mark."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != UNFINISHED:
            path.unlink(missing_ok=True)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """A disk that is full or cannot be written, in words."""
    try:
        yield
    except OSError as exc:
        place = Path(exc.filename) if isinstance(exc.filename, str) else folder
        free = ""
        if folder.exists():
            free = f"; {shutil.disk_usage(folder).free / 1e6:,.0f} MB are free"
        raise Unavailable(f"cannot write or read {place}: {exc.strerror or exc}{free}") from exc
    except sqlite3.Error as exc:
        raise Unavailable(f"cannot write or read {folder}: {exc}; see that the disk has room") from exc


def _note(settings: RagSettings, folder: Path, backup: Backup) -> None:
    """Say when the last backup was taken; the alert of a backup that is too old reads it."""
    last = {"finished_at": backup.finished_at, "folder": str(folder.absolute()), "chunks": backup.chunks}
    write_whole(settings.data_dir / LAST_BACKUP, json.dumps(last).encode())
