"""Every alert is fired by a real fault in a running stack, told to a webhook by Alertmanager, and seen to resolve."""

import sys
import time
from collections.abc import Iterator

import pytest

from tests.monitoring.faults import (
    FAULTS,
    Drill,
    alerts_of_rules,
    drilled,
    old_files_and_a_slow_embedding,
    settle,
    table,
    what_is_gone,
    what_is_slow,
)

pytestmark = [pytest.mark.monitoring, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    started = time.monotonic()
    with drilled(tmp_path_factory.mktemp("drill").resolve()) as running:
        settle(running)
        running.told_in_health = list(running.watchers.webhook.notices)
        old_files_and_a_slow_embedding(running)
        what_is_slow(running)
        what_is_gone(running)
        running.wait_for("resolved", *FAULTS)
        sys.stderr.write(f"\n{table(running)}\nthe whole drill took {time.monotonic() - started:.0f} s\n")
        yield running


def test_a_healthy_stack_tells_nobody_anything(drill: Drill) -> None:
    assert drill.told_in_health == []


@pytest.mark.parametrize("alert", alerts_of_rules())
def test_its_fault_fires_it_and_mending_resolves_it(drill: Drill, alert: str) -> None:
    seen = drill.seen(alert)
    assert drill.begun[alert] < seen.firing.at < min(drill.mended[alert], seen.resolved.at)
    assert seen.firing.labels["severity"] in ("critical", "warning")
