"""The dashboards' files are what the code makes, and Grafana can show them."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from monitoring.dashboards.build import FOLDER, dashboards, files, write
from monitoring.dashboards.objectives import OBJECTIVES
from monitoring.dashboards.panels import WIDTH, Dashboard

GRAFANA = FOLDER.parent
ALL = pytest.mark.parametrize("dashboard", dashboards(), ids=lambda dashboard: dashboard.uid)


def built(dashboard: Dashboard) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(files()[f"{dashboard.uid.removeprefix('code-assistant-')}.json"])
    return made


def test_the_files_are_what_the_code_makes() -> None:
    found = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert found == files(), "run `make dashboards`"


def test_a_dashboard_that_is_no_more_loses_its_file(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    assert [path.name for path in write(tmp_path)] == sorted(path.name for path in FOLDER.glob("*.json"))
    assert not (tmp_path / "old.json").exists()


@ALL
def test_no_panel_lies_over_another_or_beyond_the_edge(dashboard: Dashboard) -> None:
    panels = built(dashboard)["panels"]
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= WIDTH for place in places)
    for one, other in itertools.combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
    assert len({panel["id"] for panel in panels}) == len(panels)


@ALL
def test_every_panel_asks_the_provisioned_source_and_says_what_it_is(dashboard: Dashboard) -> None:
    sources = (GRAFANA / "provisioning" / "datasources" / "sources.yml").read_text()
    for panel in built(dashboard)["panels"]:
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["description"], panel["title"]
        uids = {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])}
        assert uids == {"prometheus"}
        assert "uid: prometheus\n" in sources
        names = [target["refId"] for target in panel["targets"]]
        assert names
        assert len(set(names)) == len(names)


def test_the_five_dashboards_have_uids_and_titles_of_their_own() -> None:
    assert len({dashboard.uid for dashboard in dashboards()}) == 5
    assert len({dashboard.title for dashboard in dashboards()}) == 5


def test_the_colours_of_a_panel_begin_at_the_beginning_and_rise() -> None:
    for panel in itertools.chain.from_iterable(dashboard.panels() for dashboard in dashboards()):
        values = [step.value for step in panel.steps]
        assert not values or values[0] is None, panel.title
        rest = [value for value in values[1:] if value is not None]
        assert rest == sorted(rest)
        assert len(rest) == len(values[1:])


def test_objectives_leave_room_for_failure_and_count_the_share_of_it() -> None:
    for objective in OBJECTIVES:
        assert 0 < objective.allowed < 1
        assert objective.bad or objective.good
