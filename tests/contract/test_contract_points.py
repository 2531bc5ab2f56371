"""What is written is what is read: scrolling, counting, retrieving, replacing and deleting points."""

from typing import Any

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from tests.contract import corpus
from tests.contract.conftest import Pair
from tests.contract.corpus import COLLECTION, FRESH, PLAIN, point_id
from tests.contract.filters import FILTERS


def scroll_all(client: QdrantClient, collection: str = COLLECTION, **scroll: Any) -> list[list[models.Record]]:
    pages, offset = [], None
    while True:
        page, offset = client.scroll(collection, offset=offset, **scroll)
        pages.append(page)
        if offset is None:
            return pages


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_counts_the_same(pair: Pair, name: str) -> None:
    found, wanted = (client.count(COLLECTION, FILTERS[name]).count for client in pair.both())
    assert found == wanted
    assert 0 < found < corpus.SIZE


@pytest.mark.parametrize("narrowed", [None, FILTERS["value"]], ids=["all", "filtered"])
def test_scrolling_page_by_page_meets_every_point_once_in_the_same_order(
    pair: Pair, narrowed: models.Filter | None
) -> None:
    found, wanted = (scroll_all(client, scroll_filter=narrowed, limit=37) for client in pair.both())
    assert [[record.id for record in page] for page in found] == [[record.id for record in page] for page in wanted]
    assert [record.payload for page in found for record in page] == [
        record.payload for page in wanted for record in page
    ]


def test_retrieve_answers_what_is_there(pair: Pair) -> None:
    ids = [point_id(row) for row in (3, 8, 1)] + [10**6]
    found, wanted = (client.retrieve(COLLECTION, ids, with_vectors=True) for client in pair.both())
    assert {record.id: record.payload for record in found} == {record.id: record.payload for record in wanted}
    assert {record.id for record in found} == set(ids[:3])
    assert all(isinstance(record.vector, dict) and record.vector.keys() == {"dense", "sparse"} for record in found)


def test_a_point_without_one_of_its_vectors_is_found_by_the_other(pair: Pair) -> None:
    # Row 5 has no dense vector, row 6 no sparse one.
    records = {record.id: record for record in pair.subject.retrieve(COLLECTION, [point_id(5), 6], with_vectors=True)}
    assert {id_: set(record.vector or {}) for id_, record in records.items()} == {point_id(5): {"sparse"}, 6: {"dense"}}
    by_sparse = pair.subject.query_points(COLLECTION, corpus.sparse(5), using="sparse", limit=1).points
    assert by_sparse[0].id == point_id(5)
    by_dense = pair.subject.query_points(COLLECTION, corpus.dense(6), using="dense", limit=1).points
    assert by_dense[0].id == 6


def test_the_batch_form_of_an_upsert_writes_the_same_points(fresh: Pair) -> None:
    for client in fresh.both():
        corpus.create(client, FRESH)
        batch = models.Batch(
            ids=[1, point_id(1)],
            vectors={"dense": [corpus.dense(1), corpus.dense(2)], "sparse": [corpus.sparse(1), corpus.sparse(2)]},
            payloads=[{"a": 1}, {"a": [2, {"b": None}]}],
        )
        client.upsert(FRESH, batch, wait=True)
    found, wanted = (client.retrieve(FRESH, [1, point_id(1)]) for client in fresh.both())
    assert [(record.id, record.payload) for record in found] == [(record.id, record.payload) for record in wanted]
    assert fresh.subject.query_points(FRESH, corpus.sparse(2), using="sparse", limit=1).points[0].id == point_id(1)


def test_an_upsert_replaces_payload_and_vectors_whole(fresh: Pair) -> None:
    for client in fresh.both():
        corpus.create(client, FRESH)
        client.upsert(FRESH, [models.PointStruct(id=1, vector=corpus.vectors(1), payload={"old": 1})])
        client.upsert(FRESH, [models.PointStruct(id=1, vector={"dense": corpus.dense(2)}, payload={"new": 2})])
    [found], [wanted] = (client.retrieve(FRESH, [1], with_vectors=True) for client in fresh.both())
    assert found.payload == wanted.payload == {"new": 2}
    assert isinstance(found.vector, dict)
    assert set(found.vector) == {"dense"}
    assert found.vector["dense"] == pytest.approx(wanted.vector["dense"], abs=1e-4)  # type: ignore[index, call-overload]


def test_points_are_deleted_by_id_and_ids_that_are_not_there_are_no_failure(fresh: Pair) -> None:
    for client in fresh.both():
        corpus.create(client, FRESH)
        corpus.fill(client, FRESH)
        client.delete(FRESH, [point_id(1), point_id(2), 10**9])
    for client in fresh.both():
        assert client.count(FRESH).count == corpus.SIZE - 2
        assert client.retrieve(FRESH, [point_id(1), point_id(2)]) == []


@pytest.mark.parametrize("name", ["all-three", "prefix", "any", "ids"])
def test_points_are_deleted_by_filter(fresh: Pair, name: str) -> None:
    for client in fresh.both():
        corpus.create(client, FRESH)
        corpus.index_payload(client, FRESH)
        corpus.fill(client, FRESH)
        client.delete(FRESH, models.FilterSelector(filter=FILTERS[name]))
    found, wanted = (scroll_all(client, FRESH, limit=100) for client in fresh.both())
    assert [record.id for page in found for record in page] == [record.id for page in wanted for record in page]
    assert 0 < fresh.subject.count(FRESH).count < corpus.SIZE


def test_an_unnamed_vector_is_answered_bare(fresh: Pair) -> None:
    for client in fresh.both():
        client.create_collection(PLAIN, models.VectorParams(size=3, distance=models.Distance.DOT))
        client.upsert(PLAIN, [models.PointStruct(id=7, vector=[1, 2, 3], payload={"a": 1})])
    for client in fresh.both():
        assert client.retrieve(PLAIN, [7], with_vectors=True)[0].vector == [1.0, 2.0, 3.0]
        assert client.query_points(PLAIN, [1.0, 0.0, 0.0]).points[0].score == 1.0


def test_a_wrong_dimension_is_refused_and_nothing_of_the_batch_is_written(fresh: Pair) -> None:
    corpus.create(fresh.subject, FRESH)
    good = models.PointStruct(id=1, vector=corpus.vectors(1), payload={})
    bad = models.PointStruct(id=2, vector={"dense": [1.0, 2.0]}, payload={})
    with pytest.raises(UnexpectedResponse, match=r"expected dim: 24, got 2") as refused:
        fresh.subject.upsert(FRESH, [good, bad], wait=True)
    assert refused.value.status_code == 400
    assert fresh.subject.count(FRESH).count == 0
