"""Headline figures and the table of bench-llm, of made-up measurements."""

import json

import pytest

from benchmarks.llm import report
from benchmarks.llm.first_token import FirstTokens
from benchmarks.llm.headline import TARGETS, headline, worst
from benchmarks.llm.loads import Measured, full, quick
from benchmarks.llm.run import Outcome, Result
from benchmarks.llm.servers import Server
from benchmarks.llm.soak import Soak

# The names that scripts read.
NAMES = [
    "cpu_vs_bare_plain",
    "cpu_vs_bare_stream",
    "litellm_vs_cpu_plain",
    "litellm_vs_cpu_stream",
    "added_ttft_ms_p50",
    "rss_mb",
]


def _result(name: str, cpu_ms: dict[str, float]) -> Result:
    result = Result(Server(name, ("true",), {}, "/", "for tests"))
    for load, each in cpu_ms.items():
        for number, slow in enumerate([1.0, 3.0, 1.5]):  # the machine's speed changes from round to round
            cpu_s = each * slow * 100 / 1e3
            result.measured.setdefault(load, {})[number] = Measured(100, cpu_s, 2.0, [0.01] * 100, [0.001] * 100)
    return result


def _outcome() -> Outcome:
    gateway = _result("gateway", {"plain_1": 0.5, "plain_16": 0.22, "plain_128": 0.3, "stream_16": 2.3})
    bare = _result("bare", {"plain_1": 0.2, "plain_16": 0.2, "plain_128": 0.2, "stream_16": 2.0})
    litellm = _result("litellm", {"plain_1": 5.0, "plain_16": 6.6, "plain_128": 9.0, "stream_16": 115.0})
    direct = _result("upstream", {})
    found = [
        FirstTokens(1, {"upstream": [0.001] * 9, "gateway": [0.0025] * 5 + [0.9] * 4, "litellm": [0.02]}),
        FirstTokens(16, {"upstream": [0.001], "gateway": [0.006]}),
    ]
    soak = Soak(60_000, 60.0, 20.0, [(0, 60.0), (15_000, 80.0), (55_000, 81.5), (60_000, 81.0)])
    results = {result.server.name: result for result in (gateway, bare, litellm, direct)}
    return Outcome(results, found, soak, others=0.25)


def test_the_figures_are_ratios_within_a_round_at_16_clients() -> None:
    assert headline(_outcome()) == {
        "cpu_vs_bare_plain": 1.1,
        "cpu_vs_bare_stream": 1.15,
        "litellm_vs_cpu_plain": 30.0,
        "litellm_vs_cpu_stream": 50.0,
        "added_ttft_ms_p50": 1.5,
        "rss_mb": 81.5,
    }


def test_the_figures_have_exactly_the_names_that_scripts_read() -> None:
    assert list(headline(_outcome())) == NAMES == list(TARGETS)


def test_what_was_not_measured_is_null() -> None:
    figures = headline(Outcome({"gateway": _result("gateway", {"plain_16": 1.0})}))
    assert [figures[name] for name in NAMES] == [None] * len(NAMES)
    assert '"rss_mb": null' in json.dumps(figures)


def test_the_worst_number_of_clients_is_told_beside_the_headline() -> None:
    found = worst(_outcome())
    assert found["cpu_vs_bare_plain"] == pytest.approx(2.5)  # one client
    assert found["litellm_vs_cpu_plain"] == pytest.approx(10)  # one client, the lowest
    assert found["cpu_vs_bare_stream"] == pytest.approx(1.15)
    said = report.tables(_outcome(), full())
    assert "at the worst of 1, 16 and 128 clients: cpu_vs_bare_plain 2.50" in said


def test_growth_is_from_the_second_sixth_to_the_last() -> None:
    samples = [(0, 50.0), (9_999, 70.0), (10_000, 80.0), (19_000, 82.0), (40_000, 99.0), (50_000, 83.0), (60_000, 85.0)]
    found = Soak(60_000, 60.0, 20.0, samples)
    assert found.growth_mb == 84.0 - 81.0
    assert found.rss_mb == 99.0
    assert Soak(60_000, 60.0, 20.0, samples[:3]).growth_mb is None


def test_a_server_that_failed_is_told_in_its_row_and_spoils_none() -> None:
    outcome = _outcome()
    outcome.results["litellm"] = Result(outcome.results["litellm"].server, failures=["plain_16: 500: no model"])
    said = report.tables(outcome, full())
    plain = said[said.index("plain_16:") : said.index("plain_128:")]
    assert "litellm   plain_16: 500: no model" in plain
    assert "gateway    0.330    1.10" in plain  # the median of 0.22, 0.66 and 0.33
    assert "other processes took 25%" in said
    assert headline(outcome)["litellm_vs_cpu_plain"] is None
    assert "no model" in json.dumps(report.as_json(outcome, full()))


def test_quick_has_the_loads_of_a_full_run_and_fewer_requests() -> None:
    assert [load.name for load in quick()] == [load.name for load in full()]
    assert all(few.requests < many.requests for few, many in zip(quick(), full(), strict=True))


def test_a_share_of_a_load_leaves_no_client_idle() -> None:
    assert [load.shared(1 / 8).requests for load in full() if load.clients == 128] == [400, 128, 128]
