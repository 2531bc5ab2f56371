"""What the images are: small, without root, without CUDA, and built again only where something changed."""

import json
from pathlib import Path

import pytest

from tests.compose.conftest import Note
from tests.compose.stack import SERVICES, Stack, size_mb

# MB, over the base that is at hand: Debian's slim image or its stand-in.
LIMITS_MB = {"rag-server": 750, "embedding-server": 450, "llm-server": 350, "vector-db": 350}


def image_of(stack: Stack, service: str) -> str:
    told = json.loads(stack.run("config", "--format", "json").stdout)["services"]
    return str(told[service]["image"])


@pytest.mark.parametrize("service", SERVICES)
def test_it_stays_under_its_size(stack: Stack, service: str, note: Note) -> None:
    told = stack.docker("images", "--format", "{{.Size}}", image_of(stack, service)).stdout.strip()
    note(f"{service}_image_mb", size_mb(told))
    assert size_mb(told) < LIMITS_MB[service]


@pytest.mark.parametrize("service", ["rag-server", "embedding-server", "llm-server"])
def test_it_runs_as_a_user_of_a_fixed_number_without_cuda(stack: Stack, service: str) -> None:
    script = "id -u; id -g; ls /venv/lib/python3.11/site-packages | grep -i -E '^(torch|nvidia|triton)' || echo none"
    told = stack.docker("run", "--rm", "--network", "none", image_of(stack, service), "sh", "-c", script).stdout.split()
    assert told == ["10001", "10001", "none"]


def test_no_file_of_this_folder_but_the_sources_is_in_an_image(stack: Stack, sources: Path) -> None:
    told = stack.docker("run", "--rm", image_of(stack, "rag-server"), "ls", "-A", "/app").stdout.split()
    assert sorted(told) == ["rag_app", "search_eval", "service_kit"]


def test_a_changed_line_of_the_sources_builds_no_dependency_again(stack: Stack, sources: Path) -> None:
    changed = sources / "llm_service" / "main.py"
    before = changed.read_text()
    changed.write_text(before + "# a line more\n")
    try:
        done = stack.docker("build", "--progress", "plain", "-f", "llm_service/Dockerfile", ".")
    finally:
        changed.write_text(before)
    steps = [line for line in done.stderr.splitlines() if "pip --python" in line or line.endswith("CACHED")]
    installs = [line.split()[0] for line in steps if "pip --python" in line]
    assert installs
    assert all(f"{number} CACHED" in steps for number in installs)


def test_the_embedding_server_starts_without_a_network(stack: Stack) -> None:
    options = ["--rm", "--detach", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
    started = stack.docker("run", *options, image_of(stack, "embedding-server")).stdout.strip()
    wait = "until python -m service_kit.probe 8001 >/dev/null; do sleep 1; done; python -m service_kit.probe 8001"
    try:
        told = stack.docker("exec", started, "timeout", "240", "sh", "-c", wait)
    finally:
        stack.docker("kill", started, check=False)
    assert told.stdout == "ready\n"
