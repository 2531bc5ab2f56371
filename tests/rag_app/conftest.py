"""What several tests of the RAG server start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_app.db.manifest import Manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    """A new manifest, open."""
    opened = Manifest(tmp_path / "manifest.sqlite")
    opened.open()
    yield opened
    opened.close()
