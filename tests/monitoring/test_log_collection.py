"""Alloy's and Loki's configuration, as far as they can be checked without either: see docs/operations-logs.md."""

import itertools
import json
import logging
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service_kit.logs import _ServiceFormatter
from tests.monitoring.alloy_config import Block, parse

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
ALLOY = parse((MONITORING / "alloy" / "config.alloy").read_text())
COMPOSE = yaml.safe_load((MONITORING / "docker-compose.yml").read_text())
LOKI = yaml.safe_load((MONITORING / "loki" / "loki.yml").read_text())

# Of the reference of Alloy 1.17 (docs/sources/reference/components in grafana/alloy): what each block takes.
KNOWN: dict[str, set[str]] = {
    "discovery.docker": {"host", "refresh_interval"},
    "filter": {"name", "values"},
    "discovery.relabel": {"targets"},
    "rule": {"source_labels", "target_label"},
    "loki.source.docker": {"host", "targets", "labels", "relabel_rules", "refresh_interval", "forward_to"},
    "loki.process": {"forward_to"},
    "stage.json": {"expressions"},
    "stage.timestamp": {"source", "format", "action_on_failure"},
    "stage.labels": {"values"},
    "stage.structured_metadata": {"values"},
    "loki.write": set(),
    "endpoint": {
        *("url", "batch_wait", "remote_timeout", "min_backoff_period", "max_backoff_period"),
        *("max_backoff_retries", "retry_on_http_429"),
    },
}
EXPORTS = {
    "discovery.docker": {"targets"},
    "discovery.relabel": {"output", "rules"},
    "loki.process": {"receiver"},
    "loki.write": {"receiver"},
}
FUNCTIONS = {"sys.env"}


def component(name: str) -> Block:
    [found] = [block for block in ALLOY.all() if block.name == name]
    return found


def names_in(tokens: list[str]) -> list[str]:
    """The keys of an object's tokens."""
    return [one.strip('"') for one, after in itertools.pairwise(tokens) if after == "="]


def test_alloy_uses_only_blocks_and_attributes_that_its_reference_has() -> None:
    for block in ALLOY.all():
        if block.name:
            assert block.name in KNOWN, block.name
            assert set(block.values) <= KNOWN[block.name], block.name


def test_every_reference_in_alloys_configuration_leads_to_a_component_that_exports_it() -> None:
    exported = {
        f"{block.name}.{block.label}.{export}" for block in ALLOY.blocks for export in EXPORTS.get(block.name, ())
    }
    used = {
        token
        for block in ALLOY.all()
        for tokens in block.values.values()
        for token in tokens
        if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", token) and token not in FUNCTIONS
    }
    assert used
    assert used <= exported


@pytest.mark.parametrize("broken", ['a "b" {', 'a "b" { c = }', "a { b = [c }", "}", 'a { b = "c }'])
def test_a_broken_configuration_is_not_read_as_a_whole_one(broken: str) -> None:
    with pytest.raises(ValueError, match="line"):
        parse(broken)


def test_labels_are_the_service_and_the_level_and_the_request_id_is_metadata() -> None:
    """A label with many values, such as an id, makes a stream of each: Loki's own advice against it."""
    assert names_in(component("stage.labels").values["values"]) == ["service", "level"]
    assert names_in(component("stage.structured_metadata").values["values"]) == ["request_id"]
    assert component("rule").values["target_label"] == ['"service"']
    assert LOKI["limits_config"]["discover_service_name"] == []
    assert LOKI["limits_config"]["allow_structured_metadata"] is True


def test_the_fields_that_alloy_reads_are_those_that_our_lines_have() -> None:
    record = logging.LogRecord("toy.a", logging.INFO, "", 0, "said", (), None)
    line = json.loads(_ServiceFormatter("toy", True).format(record))
    expressions = component("stage.json").values["expressions"]
    assert set(names_in(expressions)) <= set(line)
    assert component("stage.timestamp").values["format"] == ['"RFC3339Nano"']
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])


def test_only_this_projects_containers_are_read() -> None:
    values = "".join(component("filter").values["values"])
    assert "com.docker.compose.project=" in values
    assert "sys.env" in values
    assert "COMPOSE_PROJECT_NAME" in COMPOSE["services"]["alloy"]["environment"]


def test_loki_keeps_seven_days_on_its_disk_by_the_schema_that_metadata_needs() -> None:
    [schema] = LOKI["schema_config"]["configs"]
    assert (schema["store"], schema["object_store"], schema["schema"]) == ("tsdb", "filesystem", "v13")
    assert schema["index"]["period"] == "24h"  # retention works by the day
    assert LOKI["limits_config"]["retention_period"] == "168h"
    # Without these two nothing is ever deleted, and Loki 3 does not start with the first alone.
    assert LOKI["compactor"]["retention_enabled"] is True
    assert LOKI["compactor"]["delete_request_store"] == "filesystem"


def test_loki_keeps_all_that_it_writes_in_its_volume() -> None:
    [data] = [volume for volume in COMPOSE["services"]["loki"]["volumes"] if volume.startswith("loki-data:")]
    folder = data.split(":")[1]

    def paths(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [path for inner in value.values() for path in paths(inner)]
        return [value] if isinstance(value, str) and value.startswith("/") else []

    assert paths(LOKI)
    assert all(path.startswith(folder) for path in paths(LOKI))


def test_grafana_lets_nobody_in_without_the_password_of_the_secret_file() -> None:
    grafana = COMPOSE["services"]["grafana"]
    told = grafana["environment"]
    assert told["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert told["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_admin_password"
    assert "grafana_admin_password" in grafana["secrets"]
    assert "grafana_admin_password" in COMPOSE["secrets"]


def test_grafanas_start_refuses_an_empty_password(tmp_path: Path) -> None:
    """Grafana takes an empty one for none given, and is then open to admin, admin."""
    _, _, script = COMPOSE["services"]["grafana"]["entrypoint"]
    script = script.replace("/run/secrets/grafana_admin_password", str(tmp_path / "secret"))
    script = script.replace("exec /run.sh", "echo started")
    (tmp_path / "secret").write_text("")
    refused = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "GRAFANA_ADMIN_PASSWORD_FILE" in refused.stderr
    (tmp_path / "secret").write_text("long enough")
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout == "started\n"


@pytest.mark.parametrize("name", ["grafana", "loki", "alloy"])
def test_what_is_added_is_as_closed_as_the_rest(name: str) -> None:
    service = COMPOSE["services"][name]
    assert re.fullmatch(r"grafana/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["profiles"] == ["monitoring"]
    assert service["mem_limit"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    mounted = [volume for volume in service["volumes"] if volume.startswith("./")]
    for volume in mounted:
        source, _, mode = volume.split(":")
        assert mode == "ro"
        assert (MONITORING.parent / source).exists(), source


def test_grafana_finds_dashboards_and_sources_where_they_are_mounted() -> None:
    mounted = dict(volume.split(":")[:2][::-1] for volume in COMPOSE["services"]["grafana"]["volumes"])
    providers = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/dashboards.yml").read_text())
    assert providers["providers"][0]["options"]["path"] in mounted
    home = Path(COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (MONITORING.parent / mounted[str(home.parent)] / home.name).exists()
    sources = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/sources.yml").read_text())
    for source in sources["datasources"]:
        assert source["url"].removeprefix("http://").split(":")[0] in COMPOSE["services"]


def test_grafana_knows_how_often_is_scraped() -> None:
    """$__rate_interval, which every rate on a dashboard has, is made of it."""
    scraped = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    sources = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/sources.yml").read_text())
    [prometheus] = [source for source in sources["datasources"] if source["type"] == "prometheus"]
    assert prometheus["jsonData"]["timeInterval"] == scraped
