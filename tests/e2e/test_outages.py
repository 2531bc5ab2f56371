"""A service goes away and comes back: what the user is told, and that it is never silent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack, running

CODE = {
    "lock.py": "class FileLock:\n    def acquire(self):\n        '''Take the lock.'''\n        return self._take()\n",
    "cache.py": "def evict_oldest(cache):\n    '''Drop the least recently used entry.'''\n    cache.popitem()\n",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("outages").resolve()
    project = folder / "project"
    project.mkdir()
    for name, text in CODE.items():
        (project / name).write_text(text)
    with running(folder) as services:
        assert services.cli("index", str(project)).returncode == 0
        yield services


def test_without_a_model_the_answer_is_extractive_and_says_so(small: Stack) -> None:
    _, answer = small.post("/v1/ask", {"question": "where is the file lock acquired?"})
    assert (answer["mode"], answer["degraded"]) == ("extractive", ["llm"])
    citations = answer["citations"]
    assert isinstance(citations, list)
    assert citations[0]["path"] == "lock.py"


def test_without_a_model_generation_is_unavailable_and_names_the_settings(small: Stack) -> None:
    status, answer = small.post("/v1/generate", {"instruction": "acquire the file lock twice"})
    assert status == 503
    assert "OPENAI_API_KEY" in str(answer)
    assert "LLM_BASE_URL" in str(answer)


def test_while_the_embedding_service_is_down_search_is_by_keyword_and_says_so(small: Stack) -> None:
    small.stop("embedding_service")
    try:
        status, answer = small.post("/v1/search", {"query": "evict_oldest"})
        assert (status, answer["degraded"]) == (200, ["embedding"])
        hits = answer["hits"]
        assert isinstance(hits, list)
        assert hits[0]["path"] == "cache.py"
    finally:
        small.start("embedding_service")
        small.wait_for("EMBEDDING_PORT")
    assert small.post("/v1/search", {"query": "evict_oldest"})[1]["degraded"] == []


def test_while_the_vector_store_is_down_search_is_unavailable_and_then_finds_all_again(
    small: Stack, tmp_path: Path
) -> None:
    small.stop("vector_db")
    try:
        status, answer = small.post("/v1/search", {"query": "evict_oldest"})
        assert status == 503
        assert "unavailable" in str(answer)
    finally:
        small.start("vector_db")
        small.wait_for("QDRANT_PORT")
    _, answer = small.post("/v1/search", {"query": "evict_oldest"})
    hits = answer["hits"]
    assert isinstance(hits, list)
    assert hits[0]["path"] == "cache.py"
