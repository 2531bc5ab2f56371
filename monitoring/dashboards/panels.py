"""What a dashboard is made of, and its JSON as Grafana provisions it. Values in, JSON out.

Our own, and not the package grafana-foundation-sdk: its newest release is of Grafana 11.6, it numbers releases by an
epoch of the day, which no range of versions describes, and of its many classes six would be used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Of Grafana's provisioned data sources (monitoring/grafana/provisioning/datasources).
PROMETHEUS = "prometheus"

# What Grafana 11 to 13 read; later ones migrate it when they load it.
SCHEMA_VERSION = 39

WIDTH = 24  # of a dashboard, in Grafana's columns
_ROW_HEIGHT = 1

Kind = Literal["timeseries", "stat", "gauge", "bargauge", "heatmap", "state-timeline", "table"]
Unit = Literal["s", "reqps", "percentunit", "bytes", "short", "cores", "ops", "tokens", "bool", "burn"]

# Ours to Grafana's.
_UNITS: dict[Unit, str] = {
    "s": "s",
    "reqps": "reqps",
    "percentunit": "percentunit",
    "bytes": "bytes",
    "short": "short",
    "cores": "none",
    "ops": "ops",
    "tokens": "short",
    "bool": "bool_yes_no",
    "burn": "none",
}


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how its series are called: {{label}} stands for a label's value."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """From `value` on, this colour; None: from the beginning."""

    value: float | None
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One question and its answer. `about`: what a reader is to think when it looks bad.

    steps: colours by value, which a time series draws as lines. most: the axis ends there. texts: what values mean.
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: Unit = "short"
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    steps: tuple[Step, ...] = ()
    most: float | None = None
    is_stacked: bool = False
    texts: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, laid out from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """uid: stays for ever, since links hold it."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]

    def panels(self) -> Iterator[Panel]:
        """All panels, in reading order."""
        for row in self.rows:
            yield from row.panels


def to_json(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana's file provisioning reads it. Equal dashboards give equal JSON."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in dashboard.rows:
        place = {"x": 0, "y": y, "w": WIDTH, "h": _ROW_HEIGHT}
        panels.append({"id": len(panels) + 1, "type": "row", "title": row.title, "collapsed": False, "gridPos": place})
        y += _ROW_HEIGHT
        for panel, place in _laid_out(row.panels, y):
            panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(panel)})
            y = max(y, place["y"])
        y += max((panel.height for panel in row.panels), default=0)
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["code-assistant"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,  # one cross-hair for all panels
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": []},
        "annotations": {"list": [_alerts()]},
        "links": [_other_dashboards()],
        "panels": panels,
    }


def _laid_out(panels: Sequence[Panel], y: int) -> Iterator[tuple[Panel, dict[str, int]]]:
    x, height = 0, 0
    for panel in panels:
        if x + panel.width > WIDTH:
            x, y, height = 0, y + height, 0
        yield panel, {"x": x, "y": y, "w": panel.width, "h": panel.height}
        x, height = x + panel.width, max(height, panel.height)


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _source(),
        "targets": [_target(number, query, panel.kind) for number, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel.kind),
    }


def _target(number: int, query: Query, kind: Kind) -> dict[str, Any]:
    target: dict[str, Any] = {
        "refId": chr(ord("A") + number),
        "datasource": _source(),
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "editorMode": "code",
        # A table, a gauge or a number shows how it is now; asking for all that was would cost a range.
        "instant": kind in ("stat", "gauge", "bargauge", "table"),
        "range": kind not in ("stat", "gauge", "bargauge", "table"),
    }
    if kind == "heatmap":
        target["format"] = "heatmap"
    elif kind == "table":
        target["format"] = "table"
    return target


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": _UNITS[panel.unit]}
    if panel.kind != "heatmap":
        defaults["min"] = 0
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.unit == "burn":
        defaults["decimals"] = 2
    if panel.texts:
        options = {str(value): {"index": n, "text": text} for n, (value, text) in enumerate(panel.texts)}
        defaults["mappings"] = [{"type": "value", "options": {_plain(k): v for k, v in options.items()}}]
    if panel.steps:
        steps = [{"color": step.colour, "value": step.value} for step in panel.steps]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if panel.kind == "stat":
            defaults["color"] = {"mode": "thresholds"}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 40 if panel.is_stacked else 8,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    return defaults


def _plain(value: str) -> str:
    """ "2" of "2.0": mappings are compared as text."""
    return value.removesuffix(".0")


def _options(kind: Kind) -> dict[str, Any]:
    calculated = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    match kind:
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "stat":
            return {**calculated, "colorMode": "value", "graphMode": "none", "textMode": "auto"}
        case "gauge" | "bargauge":
            return {**calculated, "orientation": "auto"}
        case "heatmap":
            return {"calculate": False, "yAxis": {"unit": "s"}, "color": {"mode": "scheme", "scheme": "Oranges"}}
        case "state-timeline":
            return {"mergeValues": True, "showValue": "auto", "rowHeight": 0.9}
        case "table":
            return {"showHeader": True}


def _source() -> dict[str, str]:
    return {"type": "prometheus", "uid": PROMETHEUS}


def _alerts() -> dict[str, Any]:
    """A mark where an alert began to fire."""
    return {
        "name": "alerts",
        "datasource": _source(),
        "enable": True,
        "expr": 'ALERTS{alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "iconColor": "red",
    }


def _other_dashboards() -> dict[str, Any]:
    return {"type": "dashboards", "title": "Code Assistant", "tags": ["code-assistant"], "asDropdown": False}
