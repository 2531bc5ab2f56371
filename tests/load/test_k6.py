"""The k6 scenarios hold to their types, say what the Locust scenario says, and run where k6 is at hand."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.load import scenarios
from tests.load.fake_server import FakeRag
from tests.support.live import live
from tests.support.node import npm

K6 = Path(__file__).with_name("k6")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with its types installed."""
    folder = tmp_path_factory.mktemp("k6")
    for path in K6.glob("*.*"):
        shutil.copy(path, folder)
    subprocess.run([npm(), "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=240)
    return folder


def types_of(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "node_modules" / ".bin" / "tsc"), "-p", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_scenarios_hold_to_k6s_types(checked: Path) -> None:
    told = types_of(checked)
    assert told.returncode == 0, told.stdout


def test_a_wrong_type_is_caught(checked: Path) -> None:
    whole = (checked / "scenarios.ts").read_text()
    assert 'executor: "constant-arrival-rate"' in whole
    (checked / "scenarios.ts").write_text(whole.replace('executor: "constant-arrival-rate"', 'executor: "no-such"', 1))
    try:
        told = types_of(checked)
    finally:
        (checked / "scenarios.ts").write_text(whole)
    assert told.returncode != 0
    assert "no-such" in told.stdout


def test_both_scenarios_promise_the_same() -> None:
    text = (K6 / "scenarios.ts").read_text()
    numbers = {name: float(value) for name, value in re.findall(r"const (\w+) = (\d+);", text)}
    defaults = {name: float(value) for name, value in re.findall(r"Number\(__ENV\.(\w+) \|\| \"(\d+)\"\)", text)}
    assert numbers["SEARCH_LIMIT_MS"] == scenarios.LIMITS_S["search"] * 1e3
    assert numbers["GENERATE_LIMIT_MS"] == scenarios.LIMITS_S["generate"] * 1e3
    assert numbers["CODE_EVERY"] == scenarios.CODE_EVERY
    assert defaults == {
        "MINUTES": scenarios.MINUTES,
        "SEARCH_RATE": scenarios.RATES["search"],
        "GENERATE_RATE": scenarios.RATES["generate"],
    }


@pytest.mark.skipif(shutil.which("k6") is None, reason="k6 is in no registry that tests may use; run where it is")
@pytest.mark.parametrize(("rag", "code"), [(FakeRag(), 0), (FakeRag(fail_every=5), 99)])
def test_k6_runs_them_and_its_thresholds_decide(tmp_path: Path, rag: FakeRag, code: int) -> None:
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps([f"question {number}" for number in range(100)]))
    with live(rag.app()) as url:
        settings = {"HOST": url, "QUESTIONS": questions, "MINUTES": "0.05", "SEARCH_RATE": "10", "GENERATE_RATE": "2"}
        words = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
        ended = subprocess.run(["k6", "run", *words, str(K6 / "scenarios.ts")], timeout=120, check=False)
    assert ended.returncode == code
