"""The rules by promtool: they are valid, and each alert's tests say when it fires, when not, and that it resolves."""

import subprocess
from pathlib import Path

import pytest

from tests.support.prometheus import tool

FOLDER = Path(__file__).resolve().parents[2] / "monitoring"

pytestmark = [pytest.mark.monitoring, pytest.mark.timeout(600)]


def checked(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=FOLDER / "prometheus", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_and_the_rules_are_valid() -> None:
    # syntax only: the files of secrets are there in the container
    checked(tool("promtool"), "check", "config", "--syntax-only", "prometheus.yml")
    checked(tool("promtool"), "check", "rules", *sorted((FOLDER / "prometheus" / "rules").glob("*.yml")))


def test_alertmanagers_configuration_is_valid() -> None:
    checked(tool("amtool"), "check-config", FOLDER / "alertmanager" / "alertmanager.yml")


@pytest.mark.parametrize("file", sorted((FOLDER / "prometheus" / "tests").glob("*.yml")), ids=lambda file: file.stem)
def test_the_rules_do_what_their_tests_say(file: Path) -> None:
    checked(tool("promtool"), "test", "rules", f"tests/{file.name}")
