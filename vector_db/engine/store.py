"""All collections and aliases of one folder.

<folder>/lock, <folder>/aliases.json, <folder>/collections/<random name>/. Folders appear and vanish by a rename, so a
kill leaves each collection whole or absent; half-made and half-deleted ones are swept when the store is opened.
"""

import logging
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path

import orjson
from qdrant_client.http import models

from service_kit.errors import Conflict, NotFound
from vector_db.core.names import check_name
from vector_db.engine.collection import Collection
from vector_db.engine.files import LEAST_FREE_BYTES, free_bytes, lock_folder, size_bytes, sync_folder, write_json

_log = logging.getLogger("vector_db.store")

_UNFINISHED = "unfinished-"
_DELETED = "deleted-"


class Store:
    """What changes it runs in the writer's thread only; names are replaced as a whole, so reads need no lock."""

    def __init__(self, folder: Path):
        """Opens nothing; see open()."""
        self._folder = folder
        self._collections: Mapping[str, Collection] = {}
        self._aliases: Mapping[str, str] = {}
        self._lock: TextIOWrapper | None = None

    def open(self) -> None:
        """Lock the folder and load what it holds; fails with Conflict where another process has it."""
        (self._folder / "collections").mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(self._folder)
        loaded: dict[str, Collection] = {}
        for folder in sorted((self._folder / "collections").iterdir()):
            if folder.name.startswith((_UNFINISHED, _DELETED)):
                shutil.rmtree(folder)
                continue
            collection = self._vacuumed(Collection.load(folder))
            if collection.name in loaded:
                # A kill came between the two renames of a vacuum: both are whole, and nothing was written since.
                collection.close()
                shutil.rmtree(collection.folder)
                continue
            loaded[collection.name] = collection
            _log.info("opened", extra={"collection": collection.name, "points": collection.figures().points})
        self._collections = loaded
        aliases = orjson.loads(self._aliases_file.read_bytes()) if self._aliases_file.exists() else {}
        self._aliases = {alias: name for alias, name in aliases.items() if name in loaded}

    def _vacuumed(self, collection: Collection) -> Collection:
        """The collection, rewritten without its deleted points where these are the greater part.

        Here and not while it serves, where it would hold Edge's lane for a second for 10,000 points. On a copy, so that
        a kill leaves the old or the new. Where it fails, say because the disk is full, the old stays.
        """
        if not collection.is_mostly_deleted:
            return collection
        # A copy of it, and at most as much again while the copy is rewritten.
        if free_bytes(self._folder) < LEAST_FREE_BYTES + 2 * size_bytes(collection.folder):
            _log.warning("not vacuumed: the disk is nearly full", extra={"collection": collection.name})
            return collection
        started = time.perf_counter()
        collection.close()
        key = uuid.uuid4().hex
        draft = collection.folder.with_name(_UNFINISHED + key)
        try:
            shutil.copytree(collection.folder, draft)
            copy = Collection.load(draft)
            copy.vacuum()
            copy.close()
            os.sync()  # the copy's many files, before the only other copy goes
        except Exception:
            _log.exception("not vacuumed", extra={"collection": collection.name})
            shutil.rmtree(draft, ignore_errors=True)
            return Collection.load(collection.folder)
        final = draft.rename(draft.with_name(key))
        sync_folder(final.parent)
        shutil.rmtree(collection.folder.rename(final.with_name(_DELETED + key)))
        _log.info(
            "vacuumed", extra={"collection": collection.name, "duration_s": round(time.perf_counter() - started, 3)}
        )
        return Collection.load(final)

    def close(self) -> None:
        """Close every collection and let go of the folder."""
        for collection in self._collections.values():
            collection.close()
        self._collections = {}
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def _aliases_file(self) -> Path:
        return self._folder / "aliases.json"

    @property
    def is_open(self) -> bool:
        """Whether the folder is held by this process."""
        return self._lock is not None

    @property
    def names(self) -> list[str]:
        """Names of all collections, sorted."""
        return sorted(self._collections)

    @property
    def aliases(self) -> dict[str, str]:
        """Alias → collection."""
        return dict(self._aliases)

    def exists(self, name: str) -> bool:
        """Whether `name` is a collection or an alias of one."""
        return self._aliases.get(name, name) in self._collections

    def resolve(self, name: str) -> Collection:
        """The collection of this name or alias; fails with NotFound."""
        collection = self._collections.get(self._aliases.get(name, name))
        if collection is None:
            raise NotFound(f"Not found: Collection `{name}` doesn't exist!")
        return collection

    def create(self, name: str, request: models.CreateCollection) -> None:
        """A new, empty collection; fails with Conflict where the name is taken, or where the request cannot be met."""
        self._check_free(check_name(name))
        key = uuid.uuid4().hex
        draft = self._folder / "collections" / (_UNFINISHED + key)
        try:
            # Opened only under its final name: Edge's shard remembers the path that it was made at.
            Collection.create(draft, name, request).close()
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        final = draft.rename(self._folder / "collections" / key)
        sync_folder(final.parent)
        self._collections = {**self._collections, name: Collection.load(final)}

    def delete(self, name: str) -> bool:
        """Delete a collection and its aliases; answers False where there is no such collection (an alias is none)."""
        collection = self._collections.get(name)
        if collection is None:
            return False
        self._set_aliases({alias: target for alias, target in self._aliases.items() if target != name})
        self._collections = {n: kept for n, kept in self._collections.items() if n != name}
        doomed = collection.folder.rename(collection.folder.with_name(_DELETED + collection.folder.name))
        sync_folder(doomed.parent)
        collection.close()
        shutil.rmtree(doomed)
        return True

    def change_aliases(self, operation: models.ChangeAliasesOperation) -> None:
        """Apply all actions or, where one fails, none."""
        aliases = dict(self._aliases)
        for action in operation.actions:
            self._change_alias(aliases, action)
        self._set_aliases(aliases)

    def _change_alias(self, aliases: dict[str, str], action: models.AliasOperations) -> None:
        match action:
            case models.CreateAliasOperation(create_alias=wanted):
                if wanted.collection_name not in self._collections:
                    raise NotFound(f"Not found: Collection `{wanted.collection_name}` doesn't exist!")
                if wanted.alias_name in self._collections:
                    raise Conflict(f"Wrong input: Collection `{wanted.alias_name}` already exists!")
                aliases[check_name(wanted.alias_name)] = wanted.collection_name
            case models.RenameAliasOperation(rename_alias=wanted):
                if wanted.old_alias_name not in aliases:
                    raise NotFound(f"Not found: Alias {wanted.old_alias_name} does not exists!")
                if wanted.new_alias_name in self._collections:
                    raise Conflict(f"Wrong input: Collection `{wanted.new_alias_name}` already exists!")
                aliases[check_name(wanted.new_alias_name)] = aliases.pop(wanted.old_alias_name)
            case models.DeleteAliasOperation(delete_alias=wanted):
                aliases.pop(wanted.alias_name, None)

    def _set_aliases(self, aliases: dict[str, str]) -> None:
        if aliases != self._aliases:
            write_json(self._aliases_file, aliases)
            self._aliases = aliases

    def _check_free(self, name: str) -> None:
        if name in self._collections:
            raise Conflict(f"Wrong input: Collection `{name}` already exists!")
        if name in self._aliases:
            raise Conflict(f"Wrong input: Can't create collection with name {name}. Alias already exists!")
