"""No alert without a test of its rule (firing, not firing, resolving), a fault for real, and a runbook section."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "monitoring" / "prometheus"
RUNBOOKS = sorted((ROOT / "docs").glob("operations*.md"))


def rules() -> dict[str, dict[str, Any]]:
    """All alerts by name."""
    found = {}
    for file in (PROMETHEUS / "rules").glob("*.yml"):
        for group in yaml.safe_load(file.read_text())["groups"]:
            found.update({rule["alert"]: rule for rule in group["rules"] if "alert" in rule})
    return found


ALERTS = rules()


def outcomes(alert: str) -> list[list[bool]]:
    """Of each rules test of an alert: whether it fires, at each time that is looked at."""
    cases = [
        case for file in (PROMETHEUS / "tests").glob("*.yml") for case in yaml.safe_load(file.read_text())["tests"]
    ]
    looked = [[look for look in case["alert_rule_test"] if look["alertname"] == alert] for case in cases]
    return [[bool(look["exp_alerts"]) for look in looks] for looks in looked if looks]


def sections() -> dict[str, str]:
    """Anchor → text, over all files of the runbook."""
    found = {}
    for file in RUNBOOKS:
        for part in re.split(r"^(?=#+ )", file.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            heading, _, text = part.partition("\n")
            found[re.sub(r"[^\w -]", "", heading.lstrip("# ").lower()).replace(" ", "-")] = text
    return found


@pytest.mark.parametrize("alert", ALERTS)
def test_its_rules_tests_see_it_not_firing_firing_and_resolved(alert: str) -> None:
    assert any(case[:2] == [False, True] or case[:3] == [False, False, True] for case in outcomes(alert)), alert
    assert any(True in case and not case[-1] for case in outcomes(alert)), f"{alert} is never seen to resolve"


@pytest.mark.parametrize("alert", ALERTS)
def test_it_has_a_fault_that_is_made_for_real(alert: str) -> None:
    assert FAULTS[alert]


def test_no_fault_is_of_an_alert_that_is_gone() -> None:
    assert set(FAULTS) == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_it_says_how_grave_it_is_what_it_means_and_where_the_runbook_is(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert {"summary", "description", "runbook_url"} <= rule["annotations"].keys()
    address, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (address, anchor) == ("docs/operations.md", alert.lower())


@pytest.mark.parametrize("alert", ALERTS)
def test_the_runbook_says_what_it_means_how_to_see_it_and_what_to_do(alert: str) -> None:
    text = sections()[alert.lower()]
    for word in ("**Means.**", "**See.**", "**Do.**"):
        assert word in text, f"{alert} lacks {word}"
