"""One stack of real processes for all notebooks, with a language model that a script plays."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from notebooks import corpus
from tests.notebooks import books
from tests.support.stack import running

SCRIPT = Path(__file__).with_name("script.toml")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a kernel that speaks to a fresh stack."""
    corpus.folder().mkdir(parents=True, exist_ok=True)
    scripted = {"llm_service": {"LLM_PROVIDER": "scripted", "LLM_SCRIPT": str(SCRIPT)}}
    folder = tmp_path_factory.mktemp("stack").resolve()
    with running(folder, {"ALLOWED_ROOTS": str(corpus.folder().resolve())}, scripted) as stack:
        told = {name: stack.env[name] for name in ("EMBEDDING_URL", "QDRANT_PORT")}
        yield {**os.environ, **told, "RAG_URL": stack.url}


@pytest.fixture(scope="session")
def ran(environment: dict[str, str]) -> Callable[[str, str], tuple[books.Book, Any]]:
    """Runs a notebook; where KEEP_OUTPUTS is set, its outputs are kept in the folder of the notebooks."""

    def run(name: str, probe: str) -> tuple[books.Book, Any]:
        book, value = books.run(name, environment, probe)
        if os.environ.get("KEEP_OUTPUTS"):
            books.keep(name, book)
        return book, value

    return run
