"""The project's own rules and Alertmanager's configuration, every duration a FACTOR shorter and nothing else changed.

Expressions stay as they are but for their windows. Of the objectives, ages are shortened; latencies and ratios are not.
"""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "monitoring" / "prometheus" / "rules"
ALERTMANAGER = ROOT / "monitoring" / "alertmanager" / "alertmanager.yml"
PROMETHEUS = ROOT / "monitoring" / "prometheus" / "prometheus.yml"

FACTOR = 20

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_AGES = tuple(f"rag:objective:{name}_seconds" for name in ("index_age", "job_silence", "backup_age"))


def shorter(duration: str) -> str:
    """A duration as Prometheus writes it, such as 5m, FACTOR times shorter: 15000ms."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h)", duration)
    assert match is not None, duration
    return f"{int(match[1]) * _UNITS_MS[match[2]] // FACTOR}ms"


def shorter_expression(expression: str) -> str:
    """An expression whose windows are shorter."""
    return re.sub(r"\[(\w+)\]", lambda window: f"[{shorter(window[1])}]", expression)


def write_rules(folder: Path) -> None:
    """All rule files, shortened, into `folder`."""
    folder.mkdir(exist_ok=True)
    for source in RULES.glob("*.yml"):
        groups = yaml.safe_load(source.read_text())
        for rule in (rule for group in groups["groups"] for rule in group["rules"]):
            rule["expr"] = shorter_expression(rule["expr"])
            if "for" in rule:
                rule["for"] = shorter(rule["for"])
            if rule.get("record") in _AGES:
                rule["expr"] = f"{rule['expr']} / {FACTOR}"
        (folder / source.name).write_text(yaml.safe_dump(groups, sort_keys=False, width=1000))


def write_prometheus(folder: Path, ports: dict[str, int], alertmanager: int) -> Path:
    """The scrape configuration, its jobs found at ports of loopback in place of Docker's DNS."""
    config: dict[str, Any] = yaml.safe_load(PROMETHEUS.read_text())
    for name in ("scrape_interval", "evaluation_interval"):
        config["global"][name] = shorter(config["global"][name])
    config["global"]["scrape_timeout"] = config["global"]["scrape_interval"]
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]}
    config["scrape_configs"] = [
        {"job_name": job["job_name"], "static_configs": [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]}
        for job in config["scrape_configs"]
        if job["job_name"] in ports
    ]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    write_rules(folder / "rules")
    return path


def write_alertmanager(folder: Path, webhook: str) -> Path:
    """Alertmanager's configuration: its waits shortened, its receiver a webhook of the test's."""
    config: dict[str, Any] = yaml.safe_load(ALERTMANAGER.read_text())
    for name in ("group_wait", "group_interval", "repeat_interval"):
        config["route"][name] = shorter(config["route"][name])
    [receiver] = config["receivers"]
    [hook] = receiver["webhook_configs"]
    hook["url"] = webhook
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path
