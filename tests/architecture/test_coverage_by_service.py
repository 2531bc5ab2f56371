"""A neglected package fails the run, whatever the others' coverage; so that the 90 % of each is no mere word."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ("-p", "tests.support.coverage_by_service", "--cov", "--cov-branch", "--cov-report=")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two packages: service_kit, large and covered, and vector_db, of whose two functions one is tested."""
    for package, functions in (("service_kit", 40), ("vector_db", 2)):
        (tmp_path / package).mkdir()
        code = "".join(f"def f{n}():\n    x = {n}\n    y = x\n    return y\n" for n in range(functions))
        (tmp_path / package / "__init__.py").write_text(code)
    calls = "".join(f"    service_kit.f{n}()\n" for n in range(40))
    (tmp_path / "test_both.py").write_text(f"import service_kit, vector_db\ndef test_a():\n{calls}    vector_db.f0()\n")
    ours = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(
        re.sub(r"^source = .*$", 'source = ["service_kit", "vector_db"]', ours, flags=re.MULTILINE)
    )
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest in `project`, unseen by a coverage that this very test may run under."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=project,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_package_below_the_threshold_fails_a_run_whose_total_is_above_it(project: Path) -> None:
    ended = run(project, *PLUGIN, "--cov-by-service")
    assert ended.returncode == 1, ended.stdout
    assert "service_kit          100.00 %\n" in ended.stdout
    assert "62.50 %  below 90 %" in ended.stdout
    assert ended.stdout.rstrip().splitlines()[-1].startswith("=")  # pytest's own closing line


@pytest.mark.parametrize("arguments", [(*PLUGIN, "--cov-by-service=0"), ("--cov=vector_db",), ()])
def test_a_part_of_the_tests_is_told_its_coverage_and_held_to_none(project: Path, arguments: tuple[str, ...]) -> None:
    ended = run(project, *arguments)
    assert ended.returncode == 0, ended.stdout
    assert ("62.50 %" in ended.stdout) is ("--cov-by-service=0" in arguments)
    assert "below" not in ended.stdout
