"""What several tests of the RAG server start from."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rag_app.db.manifest import Manifest
from tests.support.indexing import Indexer, running_indexer


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    """A new manifest, open."""
    opened = Manifest(tmp_path / "manifest.sqlite")
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
async def indexer(tmp_path: Path) -> AsyncIterator[Indexer]:
    """A running indexer over a store in memory and a toy model."""
    async with running_indexer(tmp_path) as running:
        yield running
