"""All dashboards, and the files that Grafana is given."""

import json
from pathlib import Path

from monitoring.dashboards.capacity import capacity
from monitoring.dashboards.indexing import indexing
from monitoring.dashboards.llm import llm
from monitoring.dashboards.overview import overview
from monitoring.dashboards.panels import Dashboard, to_json
from monitoring.dashboards.search import search

FOLDER = Path(__file__).parents[1] / "grafana" / "dashboards"


def dashboards() -> tuple[Dashboard, ...]:
    """In the order in which they are read."""
    return overview(), search(), indexing(), llm(), capacity()


def files() -> dict[str, str]:
    """File name -> content, of every dashboard."""
    return {f"{one.uid.removeprefix('code-assistant-')}.json": _text(one) for one in dashboards()}


def write(folder: Path = FOLDER) -> list[Path]:
    """Write all files, and remove those of dashboards that are no more; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    made = files()
    for old in folder.glob("*.json"):
        if old.name not in made:
            old.unlink()
    for name, content in made.items():
        (folder / name).write_text(content)
    return sorted(folder / name for name in made)


def _text(dashboard: Dashboard) -> str:
    return json.dumps(to_json(dashboard), indent=1, ensure_ascii=False) + "\n"
