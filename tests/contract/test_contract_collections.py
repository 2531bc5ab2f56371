"""Collections and aliases come, go and are described as Qdrant's client expects."""

import warnings
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from qdrant_client.migrate import migrate

from tests.contract import corpus
from tests.contract.conftest import Pair
from tests.contract.corpus import COLLECTION, COPY, FRESH, PLAIN


def point_alias(client: QdrantClient, alias: str, collection: str) -> None:
    create = models.CreateAlias(collection_name=collection, alias_name=alias)
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])


def test_a_collection_is_listed_from_its_creation_to_its_deletion(fresh: Pair) -> None:
    for client in fresh.both():
        assert not client.collection_exists(FRESH)
        corpus.create(client, FRESH)
        assert client.collection_exists(FRESH)
        assert FRESH in {found.name for found in client.get_collections().collections}
        assert client.delete_collection(FRESH)
        assert not client.collection_exists(FRESH)
        assert not client.delete_collection(FRESH)


def test_a_second_creation_is_refused_in_words_that_clients_look_for(fresh: Pair) -> None:
    corpus.create(fresh.subject, FRESH)
    with pytest.raises(UnexpectedResponse, match="already exists") as refused:
        corpus.create(fresh.subject, FRESH)
    assert refused.value.status_code == 409


def test_a_collection_describes_its_vectors_and_payload_indexes(pair: Pair) -> None:
    found = pair.subject.get_collection(COLLECTION)
    wanted = pair.oracle.get_collection(COLLECTION)
    assert found.config.params.vectors == wanted.config.params.vectors
    assert set(found.config.params.sparse_vectors or {}) == {"sparse"}
    assert found.points_count == corpus.SIZE
    assert {field: info.data_type.value for field, info in found.payload_schema.items()} == {
        "repository": "keyword",
        "path": "keyword",
        "start_line": "integer",
    }
    assert found.payload_schema["path"].points == corpus.SIZE


def test_an_alias_stands_wherever_a_name_does(pair: Pair) -> None:
    for client in pair.both():
        point_alias(client, "contract-alias", COLLECTION)
    found, wanted = (
        client.query_points("contract-alias", corpus.dense(7), using="dense").points for client in pair.both()
    )
    assert [hit.id for hit in found] == [hit.id for hit in wanted]
    for client in pair.both():
        assert client.count("contract-alias").count == corpus.SIZE
        assert client.collection_exists("contract-alias")
        assert [alias.alias_name for alias in client.get_collection_aliases(COLLECTION).aliases] == ["contract-alias"]
        assert client.scroll("contract-alias", limit=1)[0][0].id == client.scroll(COLLECTION, limit=1)[0][0].id


def test_an_alias_moves_in_one_step_and_goes_with_its_collection(fresh: Pair) -> None:
    for client in fresh.both():
        for name in (FRESH, COPY):
            corpus.create(client, name)
        point_alias(client, "contract-alias", FRESH)
        client.update_collection_aliases(
            [
                models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="contract-alias")),
                models.CreateAliasOperation(
                    create_alias=models.CreateAlias(collection_name=COPY, alias_name="contract-alias")
                ),
            ]
        )
        [alias] = client.get_aliases().aliases
        assert (alias.alias_name, alias.collection_name) == ("contract-alias", COPY)
        client.delete_collection(COPY)
        assert client.get_aliases().aliases == []


def test_an_alias_is_renamed(fresh: Pair) -> None:
    for client in fresh.both():
        corpus.create(client, FRESH)
        point_alias(client, "contract-alias", FRESH)
        rename = models.RenameAlias(old_alias_name="contract-alias", new_alias_name="contract-other")
        client.update_collection_aliases([models.RenameAliasOperation(rename_alias=rename)])
        assert [alias.alias_name for alias in client.get_aliases().aliases] == ["contract-other"]


def test_an_alias_of_a_missing_collection_is_refused_and_the_other_actions_are_not_applied(fresh: Pair) -> None:
    corpus.create(fresh.subject, FRESH)
    actions = [
        models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=f"alias-{name}"))
        for name in (FRESH, COPY)
    ]
    with pytest.raises(UnexpectedResponse, match="Collection `contract-copy`") as refused:
        fresh.subject.update_collection_aliases(actions)
    assert refused.value.status_code == 404
    assert fresh.subject.get_collection_aliases(FRESH).aliases in ([], None)


def test_the_clients_own_migration_copies_a_collection_out_and_back(fresh: Pair) -> None:
    client, away = fresh.subject, QdrantClient(":memory:")
    corpus.create(client, FRESH)
    corpus.index_payload(client, FRESH)
    corpus.fill(client, FRESH)
    query: dict[str, Any] = {"query": corpus.dense(8), "using": "dense", "with_payload": True}
    before = client.query_points(FRESH, **query).points
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Payload indexes have no effect in the local Qdrant")
        migrate(client, away, [FRESH], batch_size=64)
    assert away.count(FRESH).count == corpus.SIZE
    migrate(away, client, [FRESH], recreate_on_collision=True)
    after = client.query_points(FRESH, **query).points
    assert [(hit.id, hit.payload) for hit in after] == [(hit.id, hit.payload) for hit in before]


async def test_the_asynchronous_client_is_served_as_well(server_url: str) -> None:
    client = AsyncQdrantClient(url=server_url)
    try:
        await client.delete_collection(PLAIN)
        await client.create_collection(PLAIN, models.VectorParams(size=2, distance=models.Distance.COSINE))
        await client.upsert(PLAIN, [models.PointStruct(id=1, vector=[1.0, 0.0], payload={"a": 1})])
        [hit] = (await client.query_points(PLAIN, [1.0, 0.0])).points
        assert (hit.id, hit.payload) == (1, {"a": 1})
        await client.delete_collection(PLAIN)
    finally:
        await client.close()
