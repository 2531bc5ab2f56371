"""The pipeline by itself, as a notebook would use it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import MetadataMode

from rag_app.clients.embedding import ServiceEmbedder
from rag_app.core.bm25 import document_vector
from rag_app.core.settings import RagSettings
from rag_app.core.tokens import document_terms
from rag_app.db.embedding_cache import EmbeddingCache
from rag_app.features.indexing.pipeline import (
    CachedEmbedding,
    CodeNode,
    Splitter,
    chunk_id,
    document,
    document_frequencies,
    embedded_chunk,
    ingestion_pipeline,
    newline_tokens,
)
from service_kit.errors import Upstream
from tests.support.fake_tei import FakeTei, toy_vector
from tests.support.live import live

TEXT = "def a():\n    '''Say a.'''\n    return 1\n\n\ndef b():\n    return a()\n"


@pytest.fixture
def tei() -> FakeTei:
    return FakeTei(max_input_length=64, max_client_batch_size=64)


@pytest.fixture
def embedder(tei: FakeTei) -> Iterator[ServiceEmbedder]:
    with live(tei.app()) as url:
        yield ServiceEmbedder(RagSettings(_env_file=None, embedding_url=url))


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EmbeddingCache]:
    cache = EmbeddingCache(tmp_path / "cache.sqlite")
    cache.open()
    yield cache
    cache.close()


async def pipeline_of(
    embedder: ServiceEmbedder, cache: EmbeddingCache, told: list[tuple[int, int]]
) -> IngestionPipeline:
    identity = await embedder.identity()
    embedding = CachedEmbedding(embedder.model, cache, identity, lambda fresh, known: told.append((fresh, known)))
    return ingestion_pipeline(Splitter(embedder), embedding)


async def test_files_go_in_and_embedded_chunks_come_out(embedder: ServiceEmbedder, cache: EmbeddingCache) -> None:
    pipeline = await pipeline_of(embedder, cache, [])
    nodes = await pipeline.arun(documents=[document("r", "src/x.py", "b1", TEXT)])
    first, second = (embedded_chunk(node) for node in nodes)
    assert (first.chunk.symbol, first.chunk.span.start_line, first.chunk.span.end_line) == ("a", 1, 5)
    assert (second.chunk.text, second.chunk.blob, second.chunk.layer) == ("def b():\n    return a()", "b1", "base")
    assert second.sparse == document_vector(document_terms("src/x.py", "b", second.chunk.text))
    embedded = nodes[1].get_content(MetadataMode.EMBED)
    assert embedded == "src/x.py\nb\ndef b():\ndef b():\n    return a()"
    assert np.allclose(second.dense, toy_vector(embedded), atol=1e-6)
    assert nodes[1].metadata["path"] == "src/x.py"
    assert nodes[1].get_content() == second.chunk.text
    await embedder.close()


async def test_vectors_come_from_the_cache_the_second_time(
    embedder: ServiceEmbedder, cache: EmbeddingCache, tei: FakeTei
) -> None:
    told: list[tuple[int, int]] = []
    pipeline = await pipeline_of(embedder, cache, told)
    before = await pipeline.arun(documents=[document("r", "x.py", "b1", TEXT)])
    asked = len(tei.paths)
    after = await (await pipeline_of(embedder, cache, told)).arun(documents=[document("r2", "x.py", "b1", TEXT)])
    assert [np.asarray(node.embedding).tolist() for node in before] == [list(node.get_embedding()) for node in after]
    assert told == [(0, 0), (2, 0), (0, 2)]
    assert "/embed" not in tei.paths[asked:]
    await embedder.close()


async def test_equal_texts_of_one_batch_are_embedded_once(embedder: ServiceEmbedder, cache: EmbeddingCache) -> None:
    told: list[tuple[int, int]] = []
    pipeline = await pipeline_of(embedder, cache, told)
    nodes = await pipeline.arun(documents=[document("r", "x.py", blob, TEXT) for blob in ("b1", "b2")])
    assert len(nodes) == 4
    assert told == [(0, 0), (2, 2)]
    assert len({node.node_id for node in nodes}) == 4
    await embedder.close()


async def test_a_model_that_fails_is_one_word_and_not_a_group(
    embedder: ServiceEmbedder, cache: EmbeddingCache, tei: FakeTei
) -> None:
    pipeline = await pipeline_of(embedder, cache, [])
    await pipeline.arun(documents=[document("r", "x.py", "b1", TEXT)])
    tei.failures += [(500, {})] * 10
    with pytest.raises(Upstream):
        await pipeline.arun(documents=[document("r", "y.py", "b1", TEXT)])
    await embedder.close()


def test_the_pipeline_runs_without_an_event_loop_too(embedder: ServiceEmbedder) -> None:
    nodes = IngestionPipeline(transformations=[Splitter(embedder)], disable_cache=True).run(
        documents=[document("r", "x.py", "b1", TEXT)]
    )
    assert [node.metadata["symbol"] for node in nodes] == ["a", "b"]
    assert document_frequencies(nodes) == {}


def test_an_id_depends_on_everything_that_makes_a_chunk() -> None:
    parts = ("r", "base", "a.py", "b1", 0)
    assert chunk_id(*parts) == chunk_id(*parts)
    others = [("r2", *parts[1:]), ("r", "x", *parts[2:]), ("r", "base", "b.py", "b1", 0), (*parts[:3], "b2", 0)]
    ids = {chunk_id(*other) for other in others} | {chunk_id(*parts), chunk_id(*parts[:4], 1)}  # type: ignore[arg-type]
    assert len(ids) == 6


async def test_the_cost_of_a_line_break_is_asked_of_the_tokenizer(embedder: ServiceEmbedder) -> None:
    class CountsBreaks:
        async def count_tokens(self, texts: list[str]) -> list[int]:
            return [len(text.split()) + text.count("\n") for text in texts]

    assert await newline_tokens(embedder) == 0
    assert await newline_tokens(CountsBreaks()) == 1  # type: ignore[arg-type]
    await embedder.close()


async def test_term_counts_make_document_frequencies(embedder: ServiceEmbedder, cache: EmbeddingCache) -> None:
    pipeline = await pipeline_of(embedder, cache, [])
    nodes = await pipeline.arun(documents=[document("r", "x.py", "b1", TEXT)])
    frequencies = document_frequencies(nodes)
    for term, files in frequencies.items():
        assert files == sum(term in node.term_counts for node in nodes if isinstance(node, CodeNode))
    await embedder.close()
