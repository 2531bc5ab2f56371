"""One stack of real processes for the whole folder, with a scripted model behind the real LLM service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.corpus import flask_sources
from tests.support.live import live
from tests.support.scripted_llm import ScriptedLlm
from tests.support.stack import Stack, running


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e").resolve()


@pytest.fixture(scope="session")
def flask(workplace: Path) -> Path:
    return flask_sources(workplace)


@pytest.fixture(scope="session")
def model() -> ScriptedLlm:
    return ScriptedLlm()


@pytest.fixture(scope="session")
def stack(workplace: Path, flask: Path, model: ScriptedLlm) -> Iterator[Stack]:
    with live(model.app()) as upstream, running(workplace, {"LLM_BASE_URL": f"{upstream}/v1"}) as services:
        indexed = services.cli("index", str(flask), "--name", "flask")
        assert indexed.returncode == 0, indexed.stderr
        yield services
