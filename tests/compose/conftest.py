"""One stack for the whole group, from a build on a bare machine to the end; what it took is told at the end."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compose import base_image, engine
from tests.compose.stack import ROOT, Stack, copy_of_the_sources
from tests.support.corpus import flask_sources

QDRANT = "qdrant/qdrant"

Note = Callable[[str, object], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All here needs a Docker Engine, which `make test-compose` brings."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("compose")
            item.add_marker(pytest.mark.timeout(1500))


@pytest.fixture(scope="session")
def note() -> Iterator[Note]:
    """Takes down a figure by name; all are printed, and written below benchmarks/results, at the end."""
    figures: dict[str, object] = {}
    yield figures.__setitem__
    results = ROOT / "benchmarks" / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / "compose.json").write_text(json.dumps(figures, indent=2) + "\n")
    os.write(2, ("\n" + "".join(f"  {name}: {value}\n" for name, value in figures.items())).encode())


@pytest.fixture(scope="session")
def reached(note: Note) -> Iterator[dict[str, str]]:
    """The environment in which `docker` reaches an engine: the machine's, or one of our own, ended at the end."""
    started = time.monotonic()
    told = engine.environment()
    note("engine_s", round(time.monotonic() - started, 1))
    yield told
    if told and "TEST_ENGINE_KEEP" not in os.environ:
        engine.stop()


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a repository to index, and a language model that tells its script."""
    folder = copy_of_the_sources(tmp_path_factory.mktemp("stack"))
    folder.chmod(0o755)  # the containers' user reads it, as it reads a clone
    (folder / ".env").write_text("LLM_PROVIDER=scripted\n")
    flask_sources(folder / "repositories")
    return folder


@pytest.fixture(scope="session")
def stack(sources: Path, reached: dict[str, str], note: Note) -> Iterator[Stack]:
    """Built and not started. Where the Qdrant image cannot be had, vector_db takes its place."""
    found = Stack(sources, reached, ["docker-compose.yml"], f"ca-test-{os.getpid()}")
    missing = [image for image in base_image.IMAGES if not _have(found, image)]
    os.environ.update(reached)
    for image in missing:
        base_image.make(image)
    qdrant = next(
        line.split()[1] for line in (sources / "docker-compose.yml").read_text().splitlines() if QDRANT in line
    )
    if not _have(found, qdrant):
        found.files = [*found.files, "tests/compose/stand-in.yml"]
        note("stand_ins", [*missing, qdrant])
    started = time.monotonic()
    found.run("build")
    note("build_s", round(time.monotonic() - started, 1))
    yield found
    found.down()


def _have(stack: Stack, image: str) -> bool:
    if stack.docker("image", "inspect", image, check=False).returncode == 0:
        return True
    return stack.docker("pull", "--quiet", image, check=False, limit_s=300).returncode == 0


@pytest.fixture(scope="session")
def running(stack: Stack, note: Note) -> Stack:
    """All of it up and healthy, with its key."""
    started = time.monotonic()
    stack.up()
    note("up_wait_s", round(time.monotonic() - started, 1))
    stack.read_key()
    return stack


@pytest.fixture(scope="session")
def indexed(running: Stack, note: Note) -> Stack:
    """With Flask's package indexed."""
    started = time.monotonic()
    running.cli("index", "/repositories/flask-3.1.2/src", "--name", "flask")
    note("index_s", round(time.monotonic() - started, 1))
    return running
