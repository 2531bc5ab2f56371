"""LlamaIndex's QdrantVectorStore, unmodified, works on the server as it does on Qdrant's own engine."""

import zlib
from collections.abc import Sequence

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from tests.contract.conftest import Pair
from tests.contract.corpus import NODES, dense, point_id

WORDS = ("lock", "queue", "thread", "parse", "token", "index", "merge", "flush", "cache", "route", "shard", "score")


def sparse_vectors(texts: Sequence[str]) -> tuple[list[list[int]], list[list[float]]]:
    """Counts of known words, each text's a little heavier or lighter, so that no two tie. No model is needed."""
    weights = [1 + zlib.crc32(text.encode()) % 1000 / 5000 for text in texts]
    counts = [
        {i: text.split().count(word) * weight for i, word in enumerate(WORDS) if word in text.split()}
        for text, weight in zip(texts, weights, strict=True)
    ]
    return [list(count) for count in counts], [list(count.values()) for count in counts]


def node(row: int) -> TextNode:
    text = " ".join(WORDS[(row * step) % len(WORDS)] for step in range(1, 6))
    return TextNode(
        id_=str(point_id(row * 2 + 1)),
        text=f"{text} {WORDS[row % 7]}",
        embedding=dense(row),
        metadata={"language": ["python", "go"][row % 2], "line": row},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"document-{row % 4}")},
    )


def vector_store(client: QdrantClient) -> QdrantVectorStore:
    return QdrantVectorStore(
        NODES, client=client, enable_hybrid=True, sparse_doc_fn=sparse_vectors, sparse_query_fn=sparse_vectors
    )


pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")


@pytest.fixture
def stores(fresh: Pair) -> tuple[QdrantVectorStore, QdrantVectorStore]:
    subject, oracle = vector_store(fresh.subject), vector_store(fresh.oracle)
    for store in (subject, oracle):
        store.add([node(row) for row in range(40)])
    return subject, oracle


Stores = tuple[QdrantVectorStore, QdrantVectorStore]


def answers(stores: Stores, query: VectorStoreQuery) -> VectorStoreQueryResult:
    """The subject's answer, found equal to the oracle's."""
    found, wanted = (store.query(query) for store in stores)
    assert found.ids == wanted.ids
    assert found.similarities == pytest.approx(wanted.similarities, abs=1e-4)
    assert [n.get_content() for n in found.nodes or []] == [n.get_content() for n in wanted.nodes or []]
    return found


def test_a_dense_query_answers_the_nodes_that_were_added(stores: Stores) -> None:
    found = answers(stores, VectorStoreQuery(query_embedding=dense(3), similarity_top_k=5))
    assert found.ids is not None
    assert found.nodes is not None
    assert found.ids[0] == node(3).node_id
    assert found.nodes[0].metadata == node(3).metadata


def test_a_hybrid_query_answers_the_same(stores: Stores) -> None:
    query = VectorStoreQuery(
        query_embedding=dense(5),
        query_str="thread flush",
        similarity_top_k=6,
        sparse_top_k=12,
        mode=VectorStoreQueryMode.HYBRID,
    )
    assert len(answers(stores, query).ids or []) == 6


def test_metadata_filters_narrow_the_answer(stores: Stores) -> None:
    filters = MetadataFilters(
        filters=[
            MetadataFilter(key="language", value="go"),
            MetadataFilter(key="line", value=20, operator=FilterOperator.LT),
            MetadataFilter(key="line", value=[1, 3], operator=FilterOperator.NIN),
        ],
        condition=FilterCondition.AND,
    )
    found = answers(stores, VectorStoreQuery(query_embedding=dense(5), similarity_top_k=40, filters=filters))
    assert sorted(n.metadata["line"] for n in found.nodes or []) == [5, 7, 9, 11, 13, 15, 17, 19]


def test_deleting_a_document_deletes_its_nodes_and_no_others(stores: Stores) -> None:
    for store in stores:
        store.delete("document-1")
    found = answers(stores, VectorStoreQuery(query_embedding=dense(1), similarity_top_k=40))
    assert len(found.ids or []) == 30
    assert node(1).node_id not in (found.ids or [])


def test_nodes_are_got_and_deleted_by_id(stores: Stores) -> None:
    ids = [node(2).node_id, node(4).node_id]
    for store in stores:
        assert {found.node_id for found in store.get_nodes(ids)} == set(ids)
        store.delete_nodes(ids)
        assert store.get_nodes(ids) == []
