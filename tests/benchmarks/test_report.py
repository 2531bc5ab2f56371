"""Headline figures, targets and the table, of made-up measurements."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.core.tables import Target
from benchmarks.core.tree import Memory
from benchmarks.embedding import report
from benchmarks.embedding.headline import TARGETS, headline
from benchmarks.embedding.loads import Measured, full
from benchmarks.embedding.roof import Encoder, measure_roof
from benchmarks.embedding.run import Outcome, Result
from benchmarks.embedding.servers import Server, table

MINILM = Encoder(hidden=384, intermediate=1536, layers=6)

# The names that scripts read, and the two by wall.
NAMES = [
    "bulk_vs_naive",
    "bulk_vs_infinity",
    "single_vs_naive",
    "single_vs_infinity",
    "single_wall_vs_naive",
    "single_wall_vs_infinity",
    "bulk_int8_vs_naive",
    "mixed_query_p99_ratio",
    "rss_mb",
    "start_s",
]


def _row(name: str) -> Server:
    return next(row for row in table(Path("/model"), Path("/infinity")) if row.name == name)


def _measured(cpu_s: float, wall_s: float = 1.0, latencies_s: list[float] | None = None) -> Measured:
    return Measured(texts=100, tokens=17_900, cpu_s=cpu_s, wall_s=wall_s, latencies_s=latencies_s or [0.1])


def _result(name: str, bulk_cpu_s: float, single_cpu_s: float, wall_s: float) -> Result:
    result = Result(_row(name))
    for number, slow in enumerate([1.0, 3.0]):  # in the second round the machine is three times as slow
        result.measured.setdefault("bulk_32", {})[number] = _measured(bulk_cpu_s * slow)
        result.measured.setdefault("single_64", {})[number] = _measured(single_cpu_s * slow, wall_s * slow)
    return result


def _outcome() -> Outcome:
    ours = _result("onnx", 4.0, 1.0, 0.5)
    ours.start_s, ours.memory = 1.25, Memory(400.0, 300.0, 420.0)
    ours.measured["single_1"] = {0: _measured(1, 1, [0.001] * 99 + [0.01])}
    ours.measured["mixed"] = {0: _measured(1, 1, [0.003] * 98 + [0.005] * 2)}
    naive, infinity = _result("naive", 8.0, 4.5, 2.0), _result("infinity", 10.0, 2.1, 1.5)
    return Outcome([ours, _result("onnx-int8", 2.0, 1.0, 1.0), naive, infinity], [{"numpy": 100.0, "torch": 80.0}])


def test_headline_figures_are_ours_over_theirs_within_each_round() -> None:
    assert headline(_outcome()) == {
        "bulk_vs_naive": 2.0,
        "bulk_vs_infinity": 2.5,
        "single_vs_naive": 4.5,
        "single_vs_infinity": 2.1,
        "single_wall_vs_naive": 4.0,
        "single_wall_vs_infinity": 3.0,
        "bulk_int8_vs_naive": 4.0,
        "mixed_query_p99_ratio": 5.0,
        "rss_mb": 400.0,
        "start_s": 1.25,
    }


def test_the_figures_have_the_names_that_scripts_read() -> None:
    assert list(headline(_outcome())) == NAMES == list(TARGETS)


def test_what_was_not_measured_is_null() -> None:
    failed = Result(_row("onnx-int8"), failures=["did not start: no such setting"])
    outcome = Outcome([_result("onnx", 4, 1, 1), failed], [])
    figures = headline(outcome)
    assert [figures[name] for name in NAMES] == [None] * len(NAMES)
    assert '"bulk_vs_naive": null' in json.dumps(figures)


@pytest.mark.parametrize(
    ("target", "value", "said"),
    [
        (Target(1.75, aim=2), 1.75, "reached: wanted >= 1.75 (aim 2)"),
        (Target(1.75, aim=2), 1.74, "NOT reached: wanted >= 1.75 (aim 2)"),
        (Target(450, at_least=False), 449.0, "reached: wanted <= 450"),
        (Target(450, at_least=False), 451.0, "NOT reached: wanted <= 450"),
        (Target(3, at_least=False), None, "not measured; wanted <= 3"),
    ],
)
def test_a_figure_stands_beside_its_target(target: Target, value: float | None, said: str) -> None:
    assert target.verdict(value) == said


def test_a_server_that_did_not_start_is_told_in_every_table_and_spoils_none() -> None:
    outcome = _outcome()
    outcome = replace(outcome, others=0.25)
    outcome.results.append(Result(_row("static"), failures=["did not start: no such backend"]))
    said = report.tables(outcome, full(), MINILM)
    assert "other processes took 25%" in said
    bulk = said[said.index("bulk_32:") : said.index("bulk_256:")]
    assert "static     did not start: no such backend" in bulk
    assert "onnx              16.7" in bulk  # the median of two, 25 and 8.3, is between them
    assert "static" in json.dumps(report.as_json(outcome, full(), MINILM))


def test_the_part_of_the_roof_is_the_models_need_over_the_measured_product() -> None:
    # Per layer and token 8 x 384^2 + 4 x 384 x 1536 + 4 x 179 x 384 = 3,813,888, by 6 layers.
    assert MINILM.flop_per_token(179) == 6 * 3_813_888
    # 17,900 tokens in 4 CPU-s are 102.4 GFLOP/CPU-s, so just over a roof of 100.
    assert report.of_roof(_measured(4.0), MINILM, 100.0) == pytest.approx(1.024, abs=0.001)
    assert report.of_roof(_measured(4.0), MINILM, None) is None


def test_the_roof_is_that_of_a_core_not_of_all() -> None:
    found = measure_roof(0.05)
    assert set(found) == {"numpy", "torch"}
    # A core of 2010 does 10 GFLOP/s, one of 2030 hardly over 1,000.
    assert all(5 < rate < 2000 for rate in found.values())


def test_the_model_folder_says_its_sizes(model_folder: Path) -> None:
    assert Encoder.of(model_folder) == MINILM
