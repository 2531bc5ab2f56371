"""What may be done with a whole index: back it up, put it back, move it. Knows neither HTTP nor the command line."""

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
from rag_app.features.backup.index_file import INDEX, UNFINISHED, Backup, Report, silent
from rag_app.features.backup.move import Moved, Moving
from rag_app.features.backup.put_back import PuttingBack
from rag_app.features.backup.take import Taking
from service_kit.errors import Conflict, Unavailable

LAST_BACKUP = "last_backup.json"

_MARK = "A backup that is being taken, or was killed. `code-assistant backup` into this folder begins it anew.\n"


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
        with _told(folder):
            made = _claim(folder)
            try:
                backup = await Taking(folder, self._settings, self._qdrant, report).take(with_cache=with_cache)
            except BaseException:
                _empty(folder, remove=made)
                raise
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


def _claim(folder: Path) -> bool:
    """Mark a folder as one that a backup is being taken into; whether it was made now."""
    made = not folder.exists()
    if not made and not folder.is_dir():
        raise Conflict(f"{folder} is a file; name a folder that is absent or empty")
    if not made and (folder / UNFINISHED).exists() and not (folder / INDEX).exists():
        _empty(folder, remove=False)
    if not made and any(folder.iterdir()):
        what = "a backup" if (folder / INDEX).exists() else "something"
        raise Conflict(f"{folder} holds {what} already; name a folder that is absent or empty, such as one by its date")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # it holds the source code
    (folder / UNFINISHED).write_text(_MARK)
    return made


def _empty(folder: Path, *, remove: bool) -> None:
    """Remove what a backup wrote; the mark goes last, so that a kill leaves a folder that says what it is."""
    for name in ("points", "work"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in sorted(folder.iterdir(), key=lambda path: path.name == UNFINISHED):
        path.unlink(missing_ok=True)
    if remove:
        folder.rmdir()


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
