"""Every query of every panel has an answer, after traffic and real faults, from a live Prometheus."""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from monitoring.dashboards.build import dashboards
from monitoring.dashboards.panels import Dashboard, Panel, Query, Row
from tests.monitoring.traffic import Traffic, until
from tests.monitoring.watchers import Watchers, watching
from tests.support.live import live
from tests.support.prometheus import tool
from tests.support.scripted_llm import ScriptedLlm
from tests.support.stack import running

pytestmark = pytest.mark.monitoring

# What Grafana puts in: at least four scrapes, of 0.75 s each in these tests.
RATE_INTERVAL = "15s"

# Zero in place of nothing, for what is well while it has no series. Here all of it has happened.
OR_ZERO = " or vector(0)"

JOBS = {
    "rag-server": "RAG_PORT",
    "embedding-server": "EMBEDDING_PORT",
    "llm-server": "LLM_PORT",
    "vector-db": "QDRANT_PORT",
}


@dataclass(frozen=True)
class Watched:
    """A Prometheus, and from when on there was traffic (Unix seconds)."""

    watchers: Watchers
    since: float

    def values(self, expr: str) -> list[float]:
        """All numbers of an expression since the traffic began, those that are none left out."""
        wanted = {"query": expr, "start": str(self.since), "end": str(time.time()), "step": "1"}
        answer = httpx.get(f"{self.watchers.url}/api/v1/query_range", params=wanted, trust_env=False).json()
        assert answer["status"] == "success", (expr, answer)
        found = [float(value) for series in answer["data"]["result"] for _, value in series["values"]]
        return [value for value in found if value == value and abs(value) != float("inf")]

    def empty(self, dashboard: Dashboard) -> list[str]:
        """The panels without a number, each with the query that has none."""
        return [
            f"{dashboard.title} / {panel.title}: {query.expr}"
            for panel in dashboard.panels()
            for query in panel.queries
            if not self.values(query.expr.replace(OR_ZERO, "").replace("$__rate_interval", RATE_INTERVAL))
        ]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("dashboards").resolve()
    model = ScriptedLlm()
    with live(model.app()) as upstream:
        extra = {"LLM_BASE_URL": f"{upstream}/v1", "LLM_MODEL": model.model, **Traffic.LIMITS}
        with running(folder, extra) as stack:
            ports = {job: int(stack.env[name]) for job, name in JOBS.items()}
            with watching(folder, ports) as watchers:
                until(lambda: len(watchers.query("up == 1")) >= len(JOBS))
                since = time.time()
                traffic = Traffic(stack, model)
                for _ in range(2):  # what was counted once only has no rate
                    traffic.index()
                    traffic.ask()
                    time.sleep(2)
                traffic.note_a_backup()
                traffic.crowd_the_embedding_service()
                traffic.ask_while_the_model_fails()
                traffic.ask_while_embedding_is_gone()
                traffic.ask_while_the_store_is_gone()
                traffic.ask()
                until(lambda: bool(watchers.query("ALERTS{alertstate='firing'}")))
                time.sleep(3)
                yield Watched(watchers, since)


@pytest.mark.parametrize("dashboard", dashboards(), ids=lambda dashboard: dashboard.uid)
def test_every_panel_has_data_after_traffic_and_faults(watched: Watched, dashboard: Dashboard) -> None:
    assert watched.empty(dashboard) == []


def test_a_panel_whose_metric_does_not_exist_is_found(watched: Watched) -> None:
    misspelt = Panel("typo", "", (Query("sum(rate(rag_serches_total[$__rate_interval])) or vector(0)"),))
    assert len(watched.empty(Dashboard("x", "x", "", (Row("", (misspelt,)),)))) == 1


def test_every_query_is_promql(tmp_path: Path) -> None:
    queries = [query.expr for dashboard in dashboards() for panel in dashboard.panels() for query in panel.queries]
    rules = [
        {"record": f"panel:{number}", "expr": expr.replace("$__rate_interval", "1m")}
        for number, expr in enumerate(queries)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = subprocess.run([tool("promtool"), "check", "rules", path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(queries)} rules found" in checked.stdout
