"""Collections as wholes: what they are called and made of, and the alias that leads to the one that is served."""

import re
from dataclasses import dataclass

from qdrant_client import models

from rag_app.core.models import ModelIdentity
from rag_app.db.chunks_payload import DENSE, SPARSE
from rag_app.db.layout import collection_options, dense_params
from rag_app.db.qdrant_calls import Qdrant
from service_kit.errors import Conflict

# Part of a collection's name: a change in payload keys or vectors raises it, and a new index is built beside the old.
SCHEMA_VERSION = 1

# Keywords that queries filter by. `repository` is the tenant: Qdrant lays a tenant's points together.
_KEYWORDS = ("layer", "path", "blob", "language", "folders", "names")

# <alias>_v<schema>_<model>, and after a restore _<random>, so that one is filled beside the one that is served.
_NAME = re.compile(r"(?P<alias>.+)_v(?P<schema>\d+)_(?P<model>[0-9a-f]{12})(?:_(?P<copy>[0-9a-f]{8}))?")


@dataclass(frozen=True, slots=True)
class CollectionName:
    """A collection's name, read. model: the first 12 hex digits of its identity's hash. copy: "" for the first."""

    alias: str
    schema: int
    model: str
    copy: str = ""

    @classmethod
    def parse(cls, name: str) -> "CollectionName | None":
        """None where a name is none of ours."""
        if (found := _NAME.fullmatch(name)) is None:
            return None
        return cls(found["alias"], int(found["schema"]), found["model"], found["copy"] or "")

    def __str__(self) -> str:
        return f"{self.alias}_v{self.schema}_{self.model}" + (f"_{self.copy}" if self.copy else "")


def name_of(alias: str, identity: ModelIdentity) -> CollectionName:
    """What the collection of a model is called that this program makes."""
    return CollectionName(alias, SCHEMA_VERSION, identity.hash[:12])


def check_make(target: str, alias: str, identity: ModelIdentity) -> None:
    """Conflict, with the way out, where an alias leads to the collection of another model, schema or program."""
    found, wanted = CollectionName.parse(target), name_of(alias, identity)
    anew = (
        f"to build it anew set COLLECTION={alias}-{SCHEMA_VERSION + 1} in .env (any name that is free), restart, and "
        "run `code-assistant repos sync NAME` for one repository: all are indexed again, one after the other"
    )
    if found is not None and found.alias == alias and found.schema > SCHEMA_VERSION:
        raise Conflict(
            f"the index {target!r} has schema v{found.schema}, this program knows v{SCHEMA_VERSION}: it was written by "
            "a newer version; start that one (docs/upgrading.md)"
        )
    if found is None or found.alias != alias or found.schema < SCHEMA_VERSION:
        raise Conflict(f"the index {target!r} was built by another version of this program; {anew}")
    if found.model != wanted.model:
        raise Conflict(
            f"the index {target!r} was built with another embedding model than {identity.name!r} "
            f"({wanted.model}); set EMBEDDING_MODEL, EMBEDDING_URL and EMBEDDING_IN_PROCESS back, or {anew}"
        )


class Collections:
    """Makes collections and moves the alias."""

    def __init__(self, qdrant: Qdrant, alias: str):
        """qdrant: closed by whoever made it."""
        self._qdrant = qdrant
        self.alias = alias

    async def target(self) -> str | None:
        """The collection that the alias leads to, None where there is no alias."""
        answer = await self._qdrant.call(self._qdrant.client.get_aliases)
        return next((a.collection_name for a in answer.aliases if a.alias_name == self.alias), None)

    async def names(self) -> list[str]:
        """Every collection of the server, those of others too."""
        answer = await self._qdrant.call(self._qdrant.client.get_collections)
        return sorted(collection.name for collection in answer.collections)

    async def make(self, name: str, dim: int) -> None:
        """A collection with its payload indexes, whatever of it is missing."""
        call, client = self._qdrant.call, self._qdrant.client
        if not await call(client.collection_exists, name):
            await call(
                client.create_collection,
                name,
                vectors_config={DENSE: dense_params(self._qdrant.settings, dim)},
                sparse_vectors_config={SPARSE: models.SparseVectorParams()},
                **collection_options(self._qdrant.settings),
            )
        keyword = models.KeywordIndexType.KEYWORD
        schemas = {key: models.KeywordIndexParams(type=keyword) for key in _KEYWORDS}
        schemas["repository"] = models.KeywordIndexParams(type=keyword, is_tenant=True)
        for key, schema in schemas.items():
            await call(client.create_payload_index, name, field_name=key, field_schema=schema, wait=True)

    async def dim(self, name: str) -> int:
        """The length of a collection's dense vectors; Conflict where it has none of our name."""
        info = await self._qdrant.call(self._qdrant.client.get_collection, name)
        vectors = info.config.params.vectors
        if not isinstance(vectors, dict) or DENSE not in vectors:
            raise Conflict(f"the collection {name!r} has no vector {DENSE!r}: it is no index of Code Assistant")
        return int(vectors[DENSE].size)

    async def point_alias(self, name: str) -> None:
        """Lead the alias to a collection, in one step."""
        operations: list[models.AliasOperations] = []
        if await self.target() is not None:
            operations.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self.alias)))
        alias = models.CreateAlias(collection_name=name, alias_name=self.alias)
        operations.append(models.CreateAliasOperation(create_alias=alias))
        await self._qdrant.call(self._qdrant.client.update_collection_aliases, operations)

    async def delete(self, name: str) -> None:
        """Delete a collection; nothing happens where there is none."""
        await self._qdrant.call(self._qdrant.client.delete_collection, name)
