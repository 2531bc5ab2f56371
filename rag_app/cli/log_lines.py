"""One log line as text: whose it is, when it was written, how a reader is shown it. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.text import Text

from rag_app.cli.client import Failure
from rag_app.cli.output import printable

# What `docker compose logs` puts before a line, coloured or not, and what its --timestamps adds. Compose 2.26 begins
# each line with "erase this line", into a pipe and with --no-color as well.
_COLOUR = r"(?:\x1b\[[0-9;]*[A-Za-z])*"
_PREFIX = re.compile(rf"{_COLOUR}(?P<container>[A-Za-z0-9][\w.-]*)\s*\|{_COLOUR}\s?{_COLOUR}")
_TIMESTAMP = re.compile(r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)\s")

_NAME = r"[A-Za-z0-9._:-]"
_PAST = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

# Shown in places of their own.
_PLACED = frozenset({"time", "level", "service", "logger", "request_id", "message", "exception"})
_ACCESS = ("method", "route", "status", "duration_ms")
_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a service of ours, or of a stranger (level "", its whole text as the message, time "" if untold)."""

    time: str
    service: str
    level: str
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def as_json(self) -> str:
        """The line as a JSON object, as the service wrote it where it is ours."""
        stranger = {"time": self.time, "service": self.service, "message": self.message}
        return json.dumps(self.fields or stranger, ensure_ascii=False)


def line_of(text: str, request_id: str, place: str = "") -> LogLine | None:
    """The line where it belongs to the request or the job `request_id`, else None.

    text: as a file holds it, or as `docker compose logs` shows it. place: the service, where the text does not tell.
    """
    told_at = ""
    if not text.startswith("{"):
        if prefix := _PREFIX.match(text):
            place, text = re.sub(r"-\d+$", "", prefix["container"]), text[prefix.end() :]
        if stamp := _TIMESTAMP.match(text):
            told_at, text = stamp["time"], text[stamp.end() :]
    fields = _decoded(text)
    if fields is None:
        is_named = re.search(rf"(?<!{_NAME}){re.escape(request_id)}(?!{_NAME})", text) is not None
        return LogLine(told_at, place, "", text.rstrip()) if is_named else None
    if request_id not in (fields.get("request_id"), fields.get("job")):
        return None
    told = {name: str(fields.get(name) or "") for name in ("time", "service", "level", "message")}
    return LogLine(told["time"] or told_at, told["service"] or place, told["level"], told["message"], fields)


def _decoded(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def moment(since: str, now: datetime) -> str:
    """`since` ("90s", "10m", "2h", "1d", or a date and time) as lines tell their time, in UTC. Failure for else."""
    past = _PAST.fullmatch(since.strip())
    try:
        if past:
            at = now - timedelta(seconds=float(past["number"]) * _SECONDS[past["unit"]])
        else:
            at = datetime.fromisoformat(since.strip())
        return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
    except (ValueError, OverflowError):
        raise Failure(f"--since {since!r}: say how long ago, such as 10m or 2h, or when: 2026-01-31T12:00") from None


def shown(line: LogLine) -> Text:
    """`time  service  LEVEL  what happened`, an exception's lines below it."""
    style = _STYLES.get(line.level, "")
    text = Text(f"{_clock(line.time):<12}  {printable(line.service):<17} {line.level:<8} ", style=style or "dim")
    text.append(printable(_happened(line)), style=style or "none")
    for more in str(line.fields.get("exception") or "").splitlines():
        text.append(f"\n{'':<14}{printable(more)}", style="dim")
    return text


def _happened(line: LogLine) -> str:
    fields = line.fields
    if all(name in fields for name in _ACCESS):
        return f"{fields['method']} {fields['route']}  {fields['status']}  {fields['duration_ms']} ms"
    rest = [f"{name}={_plain(value)}" for name, value in fields.items() if name not in _PLACED]
    return "  ".join([line.message, *rest])


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _clock(time: str) -> str:
    """`12:00:00.000` of a line's time, "" where it has none."""
    return time[11:23].rstrip("Z")
