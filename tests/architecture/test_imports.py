"""The house rules hold, and a planted breach of each kind is caught."""

import json
from pathlib import Path

import pytest

from tests.architecture.imports import Import, breaches, cycles, imports_of

ROOT = Path(__file__).resolve().parents[2]


def test_no_import_breaks_a_rule() -> None:
    found = imports_of(ROOT)
    assert len(found) > 100, "the walk found hardly any imports: is it looking at the right folder?"
    assert breaches(found) == []


def test_no_modules_import_each_other_in_a_loop() -> None:
    assert cycles(imports_of(ROOT)) == []


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("service_kit.app", "rag_app.core.models.Chunk"),
        ("rag_app.main", "embedding_service.main.create_app"),
        ("rag_app.main", "tests.support.live.live"),
        ("evals.run", "rag_app.core.models.Chunk"),
        ("evals.run", "qdrant_client.QdrantClient"),
        ("search_eval.golden", "service_kit.errors.NotFound"),
        ("llm_service.main", "search_eval.metrics.ndcg"),
        ("rag_app.core.models", "rag_app.db.chunks.ChunkStore"),
        ("rag_app.db.chunks", "rag_app.features.search.service.SearchService"),
        ("rag_app.clients.llm", "rag_app.db.chunks.ChunkStore"),
        ("rag_app.features.search.service", "rag_app.main.create_app"),
        ("rag_app.features.search.service", "rag_app.features.generation.service.AnswerService"),
        ("rag_app.features.generation.service", "rag_app.features.search.ranking.fuse"),
        ("rag_app.features.indexing.service", "rag_app.features.search.service.SearchService"),
        ("rag_app.features.search.service", "qdrant_client.models.Filter"),
        ("vector_db.features.points.service", "qdrant_edge.EdgeShard"),
        ("rag_app.core.models", "llama_index.core.schema.TextNode"),
        ("rag_app.clients.embedding", "torch"),
        ("llm_service.features.chat.service", "aiohttp.ClientSession"),
        ("llm_service.admission.door", "llm_service.providers.base.Provider"),
        ("rag_app.attic.old", "rag_app.core.models.Chunk"),
        ("notebooks.asking", "rag_app.features.indexing.chunking.chunker"),
        ("notebooks.chunks", "rag_app.features.indexing.service.IndexingService"),
        ("notebooks.02_chunking", "rag_app.features.indexing.chunking.chunker"),
        ("notebooks.01_first_steps", "torch"),
    ],
)
def test_a_planted_breach_is_caught(module: str, target: str) -> None:
    assert breaches([Import(module, target, 1)]) != []


def test_a_planted_relative_import_is_caught() -> None:
    assert breaches([Import("rag_app.main", "core", 1, is_relative=True)]) != []


def test_a_planted_loop_is_caught_and_named() -> None:
    loop = [Import("rag_app.core.a", "rag_app.core.b.x", 1), Import("rag_app.core.b", "rag_app.core.a.y", 1)]
    assert cycles(loop) == [["rag_app.core.a", "rag_app.core.b"]]


def test_generation_may_speak_to_search_through_its_service() -> None:
    allowed = Import("rag_app.features.generation.service", "rag_app.features.search.service.SearchService", 1)
    assert breaches([allowed]) == []


def test_one_module_of_the_notebooks_may_look_into_the_chunker() -> None:
    assert breaches([Import("notebooks.chunks", "rag_app.features.indexing.chunking.chunker", 1)]) == []


def test_imports_in_the_cells_of_a_notebook_are_seen(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    cell = {"cell_type": "code", "source": ["import httpx\n", "from rag_app.core.models import Chunk\n"]}
    (tmp_path / "notebooks" / "01_a.ipynb").write_text(json.dumps({"cells": [cell, {"cell_type": "markdown"}]}))
    assert len(breaches(imports_of(tmp_path))) == 1


def test_imports_hidden_in_functions_and_import_module_are_seen(tmp_path: Path) -> None:
    package = tmp_path / "rag_app" / "core"
    package.mkdir(parents=True)
    (package / "sly.py").write_text(
        "import importlib\ndef f():\n    import torch\n    importlib.import_module('qdrant_edge')\n"
    )
    assert len(breaches(imports_of(tmp_path))) == 2
