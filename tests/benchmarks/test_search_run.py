"""The real thing, small: the three services, an index of this project's own code, and questions about it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.core import command
from benchmarks.search import __main__ as bench
from benchmarks.search.servers import PROCESSES

ROOT = Path(__file__).resolve().parents[2]


def test_a_small_run_measures_every_way_and_its_index_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def sources(cache: Path) -> Iterator[tuple[str, Path]]:
        for name in ("search_eval", "deploy", "service_kit"):
            asked.append(name)
            yield name, ROOT / name

    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the handlers of pytest's own process stay
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(bench, "_sources", sources)
    monkeypatch.setattr(bench, "cache_folder", lambda: ROOT)
    monkeypatch.setattr(bench, "data_folder", lambda plan: tmp_path / "index")
    words = ["--chunks", "40", "--queries", "8", "--rounds", "2", "--model", "int8"]
    assert bench.main(words) == 0
    told = capsys.readouterr().out.splitlines()
    figures = json.loads(told[-1])
    assert asked == ["search_eval"]  # which has enough
    assert figures["chunks"] >= 40
    assert 0 < figures["queries"] <= 8
    assert 0 < figures["arms_cpu_ms"] < 500
    assert 0 < figures["hybrid_cpu_ms"] < 500
    whole = json.loads(next((tmp_path / "results").glob("search-*.json")).read_text())
    assert set(whole["rounds"]) == {"0", "1"}
    for process in PROCESSES:
        assert whole["cpu_ms"][process]["hybrid"]["median"] > 0
    # What looks in no file asks no model, and finds nothing that would have to be fetched.
    assert whole["cpu_ms"]["embedding"]["nothing"]["median"] < whole["cpu_ms"]["embedding"]["hybrid"]["median"]
    assert whole["neutral"]["test_weight"] == 1
    assert "dense_share" not in whole["neutral"]


def test_a_wrong_command_line_of_the_search_benchmark_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.search", "--chunks", "0"], cwd=ROOT, capture_output=True, timeout=60
    )
    assert done.returncode == 2
