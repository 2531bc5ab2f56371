"""The same search finds the same points, in the same order, with the same scores, as in Qdrant's own client."""

from typing import Any

import pytest
from qdrant_client import models

from tests.contract.conftest import Pair
from tests.contract.corpus import COLLECTION, PLAIN, dense, point_id, sparse
from tests.contract.filters import FILTERS

# Edge scores in float32, the oracle in float64 for part of the way.
TOLERANCE = 1e-4


def assert_same(pair: Pair, **query: Any) -> list[models.ScoredPoint]:
    found, wanted = (client.query_points(COLLECTION, **query).points for client in pair.both())
    assert_same_hits(found, wanted)
    return found


def assert_same_hits(found: list[models.ScoredPoint], wanted: list[models.ScoredPoint]) -> None:
    assert [hit.id for hit in found] == [hit.id for hit in wanted]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in wanted], abs=TOLERANCE)
    assert [hit.payload or {} for hit in found] == [hit.payload or {} for hit in wanted]


def arms(seed: int, narrowed: models.Filter | None = None, limit: int = 50) -> list[models.Prefetch]:
    return [
        models.Prefetch(query=dense(seed), using="dense", limit=limit, filter=narrowed),
        models.Prefetch(query=sparse(seed, 6), using="sparse", limit=limit, filter=narrowed),
    ]


def weighted_rrf(k: int | None = None) -> models.RrfQuery:
    # Equal weights tie (rank 1 of one arm with rank 1 of the other), and every engine breaks ties in its own way.
    return models.RrfQuery(rrf=models.Rrf(k=k, weights=[1.0, 0.97]))


@pytest.mark.parametrize("seed", [1000, 1001, 1002])
def test_a_dense_query_finds_the_same(pair: Pair, seed: int) -> None:
    assert len(assert_same(pair, query=dense(seed), using="dense", limit=20)) == 20


@pytest.mark.parametrize("seed", [1000, 1001, 1002])
def test_a_sparse_query_finds_the_same(pair: Pair, seed: int) -> None:
    assert len(assert_same(pair, query=sparse(seed, 5), using="sparse", limit=20)) == 20


@pytest.mark.parametrize("k", [None, 1, 60])
@pytest.mark.parametrize("seed", [1000, 1001, 1002])
def test_a_hybrid_query_with_weighted_rrf_finds_the_same(pair: Pair, seed: int, k: int | None) -> None:
    assert len(assert_same(pair, prefetch=arms(seed), query=weighted_rrf(k), limit=30)) == 30


def test_plain_rrf_gives_the_same_scores(pair: Pair) -> None:
    query: dict[str, Any] = {"prefetch": arms(1000), "query": models.FusionQuery(fusion=models.Fusion.RRF), "limit": 50}
    found, wanted = (client.query_points(COLLECTION, **query).points for client in pair.both())
    # Ties stand in any order: the scores are compared, and the points as sets but for the last score's ties.
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in wanted], abs=TOLERANCE)
    last = found[-1].score + TOLERANCE
    assert {hit.id for hit in found if hit.score > last} == {hit.id for hit in wanted if hit.score > last}


def test_dbsf_fusion_finds_the_same(pair: Pair) -> None:
    assert len(assert_same(pair, prefetch=arms(1003), query=models.FusionQuery(fusion=models.Fusion.DBSF))) == 10


def test_a_nested_prefetch_is_ranked_again_by_the_outer_query(pair: Pair) -> None:
    inner = models.Prefetch(prefetch=arms(1004), query=weighted_rrf(), limit=25)
    assert len(assert_same(pair, prefetch=inner, query=dense(1005), using="dense", limit=15)) == 15


@pytest.mark.parametrize("name", FILTERS)
def test_a_filtered_hybrid_query_finds_the_same(pair: Pair, name: str) -> None:
    narrowed = FILTERS[name]
    found = assert_same(pair, prefetch=arms(1006, narrowed), query=weighted_rrf(), limit=20)
    assert found, "a filter that nothing passes shows nothing"


def test_offset_skips_the_first_hits(pair: Pair) -> None:
    whole = assert_same(pair, query=dense(1007), using="dense", limit=20)
    assert [hit.id for hit in assert_same(pair, query=dense(1007), using="dense", limit=5, offset=10)] == [
        hit.id for hit in whole[10:15]
    ]


def test_hits_under_the_score_threshold_are_left_out(pair: Pair) -> None:
    found = assert_same(pair, query=dense(1008), using="dense", limit=300, score_threshold=0.3)
    assert found
    assert all(hit.score >= 0.3 for hit in found)


def test_a_limit_beyond_the_collection_answers_every_point_that_has_the_vector(pair: Pair) -> None:
    found = assert_same(pair, query=dense(1009), using="dense", limit=10**9)
    assert len(found) == sum(row % 11 != 5 for row in range(300))


@pytest.mark.parametrize("row", [2, 3])
def test_nearest_to_a_stored_point_leaves_that_point_out(pair: Pair, row: int) -> None:
    found = assert_same(pair, query=point_id(row), using="dense", limit=10)
    assert point_id(row) not in {hit.id for hit in found}


def test_nearest_to_a_stored_point_keeps_to_the_filter(pair: Pair) -> None:
    narrowed = FILTERS["value"]
    for hit in assert_same(pair, query=2, using="dense", query_filter=narrowed, with_payload=True):
        assert hit.payload is not None
        assert hit.payload["language"] == "python"


def test_a_query_without_a_vector_lists_points(pair: Pair) -> None:
    found, wanted = (
        client.query_points(COLLECTION, query_filter=FILTERS["range"], limit=300).points for client in pair.both()
    )
    assert {hit.id for hit in found} == {hit.id for hit in wanted}


@pytest.mark.parametrize(
    "selector",
    [
        True,
        False,
        ["path", "meta.depth"],
        models.PayloadSelectorInclude(include=["language"]),
        models.PayloadSelectorExclude(exclude=["tags", "meta"]),
    ],
    ids=["all", "none", "list", "include", "exclude"],
)
def test_a_payload_selector_answers_the_same_keys(pair: Pair, selector: Any) -> None:
    assert_same(pair, query=dense(1010), using="dense", with_payload=selector)


@pytest.mark.parametrize("wanted", [True, ["sparse"], ["dense"]])
def test_vectors_come_back_as_they_are_stored(pair: Pair, wanted: bool | list[str]) -> None:
    found, expected = (
        client.query_points(COLLECTION, query=sparse(1011), using="sparse", with_vectors=wanted).points
        for client in pair.both()
    )
    for hit, other in zip(found, expected, strict=True):
        assert isinstance(hit.vector, dict)
        assert isinstance(other.vector, dict)
        assert hit.vector.keys() == other.vector.keys()
        for name, vector in hit.vector.items():
            reference = other.vector[name]
            if isinstance(vector, models.SparseVector):
                assert isinstance(reference, models.SparseVector)
                weights = dict(zip(vector.indices, vector.values, strict=True))
                expected_weights = dict(zip(reference.indices, reference.values, strict=True))
                assert weights == pytest.approx(expected_weights, abs=TOLERANCE)
            else:
                assert vector == pytest.approx(reference, abs=TOLERANCE)


def test_a_batch_answers_each_query_by_itself(pair: Pair) -> None:
    requests = [
        models.QueryRequest(query=dense(1012), using="dense", limit=7, with_payload=True),
        models.QueryRequest(query=sparse(1012, 4), using="sparse", limit=9),
        models.QueryRequest(prefetch=arms(1013), query=weighted_rrf(), limit=11),
    ]
    found, wanted = (client.query_batch_points(COLLECTION, requests) for client in pair.both())
    assert [len(answer.points) for answer in found] == [7, 9, 11]
    for answer, expected in zip(found, wanted, strict=True):
        assert_same_hits(answer.points, expected.points)


def test_the_idf_modifier_weighs_rare_terms_as_the_oracle_does(fresh: Pair) -> None:
    idf = models.SparseVectorParams(modifier=models.Modifier.IDF)
    for client in fresh.both():
        client.create_collection(PLAIN, vectors_config={}, sparse_vectors_config={"s": idf})
        rows = [models.PointStruct(id=row, vector={"s": sparse(row)}, payload={}) for row in range(50)]
        client.upsert(PLAIN, rows, wait=True)
    found, wanted = (client.query_points(PLAIN, sparse(1014, 4), using="s").points for client in fresh.both())
    assert_same_hits(found, wanted)


@pytest.mark.parametrize("distance", list(models.Distance))
def test_every_distance_ranks_as_the_oracle_does(fresh: Pair, distance: models.Distance) -> None:
    for client in fresh.both():
        client.create_collection(PLAIN, vectors_config=models.VectorParams(size=24, distance=distance))
        rows = [models.PointStruct(id=row, vector=dense(row), payload={"row": row}) for row in range(40)]
        client.upsert(PLAIN, rows, wait=True)
    found, wanted = (client.query_points(PLAIN, dense(1015)).points for client in fresh.both())
    assert_same_hits(found, wanted)
