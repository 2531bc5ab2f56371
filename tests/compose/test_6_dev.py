"""Work on the services in the stack: sources mounted, a changed line live, tests in the container."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.compose.conftest import Note
from tests.compose.stack import Stack, until

# Service -> its port, and a file of tests that run in seconds.
TESTED = {
    "rag-server": "tests/rag_app/unit/test_tokens.py",
    "embedding-server": "tests/embedding_service/unit/test_vector_cache.py",
    "llm-server": "tests/llm_service/unit/test_breaker.py",
}


@pytest.fixture(scope="module")
def dev(stack: Stack, note: Note) -> Iterator[Stack]:
    """The stack as `.env.example` sets it up, in place of the other."""
    stack.down()
    working = Stack(stack.folder, stack.engine, [*stack.files, "docker-compose.dev.yml"], f"{stack.project}-dev")
    started = time.monotonic()
    try:
        working.run("build")
        note("dev_build_s", round(time.monotonic() - started, 1))
        working.up()
        yield working
    finally:
        working.down()


@pytest.mark.parametrize(
    ("service", "package", "port"),
    [
        ("rag-server", "rag_app", "RAG_PORT"),
        ("llm-server", "llm_service", "LLM_PORT"),
        ("embedding-server", "embedding_service", "EMBEDDING_PORT"),
    ],
)
def test_a_changed_line_is_live_without_a_build_or_a_restart_by_hand(
    dev: Stack, service: str, package: str, port: str, note: Note
) -> None:
    changed = dev.folder / package / "main.py"
    before = changed.read_text()
    container = dev.containers()[service]["Id"]
    assert before.count("    return app\n") == 1
    headers = {"authorization": f"Bearer {dev.cli('key').stdout.strip()}"}
    line = '    app.add_api_route("/changed", lambda: "live")\n    return app\n'
    changed.write_text(before.replace("    return app\n", line))

    def is_live() -> bool:
        return httpx.get(f"{dev.url(port)}/changed", headers=headers, timeout=5, trust_env=False).status_code == 200

    try:
        note(f"{service}_reload_s", round(until(is_live, "the changed line"), 1))
    finally:
        changed.write_text(before)
    assert dev.containers()[service]["Id"] == container
    until(lambda: not is_live(), "the line is gone again")


@pytest.mark.parametrize("service", TESTED)
def test_its_tests_run_in_its_container(dev: Stack, service: str) -> None:
    done = dev.run("exec", "-T", "-e", "PYTEST_ADDOPTS=-p no:cacheprovider", service, "pytest", "-q", TESTED[service])
    assert " passed" in done.stdout


@pytest.mark.parametrize("service", TESTED)
def test_pytest_alone_means_the_service_s_own_tests(dev: Stack, service: str) -> None:
    done = dev.run("exec", "-T", service, "pytest", "--collect-only", "-q")
    package = {"rag-server": "rag_app", "embedding-server": "embedding_service", "llm-server": "llm_service"}[service]
    collected = {line.split("/")[1] for line in done.stdout.splitlines() if line.startswith("tests/")}
    assert collected == {package, "service_kit"}
