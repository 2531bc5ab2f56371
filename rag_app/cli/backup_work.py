"""What `backup`, `restore` and `migrate` await. In a module of its own, which a command imports when it runs.

Its imports, LlamaIndex and Qdrant's client, take 1.5 s and 100 MB, and no other command needs them.
"""

import asyncio
from pathlib import Path

from rag_app.clients.embedding import create_embedder
from rag_app.core.settings import RagSettings
from rag_app.db.qdrant_calls import Qdrant
from rag_app.features.backup.index_file import Backup, Report
from rag_app.features.backup.move import Moved
from rag_app.features.backup.service import BackupService


async def migrate(settings: RagSettings, other: RagSettings, report: Report) -> Moved:
    """Carry the index from the store of `settings` to that of `other`."""
    source, target = Qdrant(settings), Qdrant(other)
    try:
        return await BackupService(settings, source).migrate(target, report=report)
    finally:
        await asyncio.gather(source.close(), target.close())


async def back_up(settings: RagSettings, folder: Path, with_cache: bool, report: Report) -> Backup:
    """Take a backup into `folder`."""
    qdrant = Qdrant(settings)
    try:
        return await BackupService(settings, qdrant).back_up(folder, with_cache=with_cache, report=report)
    finally:
        await qdrant.close()


async def restore(settings: RagSettings, folder: Path, replace: bool, report: Report) -> tuple[Backup, str | None]:
    """Put the backup in `folder` back; with a warning where the model could not be compared."""
    qdrant, embedder = Qdrant(settings), create_embedder(settings)
    try:
        return await BackupService(settings, qdrant, embedder).restore(folder, replace=replace, report=report)
    finally:
        await asyncio.gather(qdrant.close(), embedder.close())
