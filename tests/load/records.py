"""What became of each request, as lines of CSV. Standard library only: Locust imports it."""

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """One request; times in s since the start of the run. error: "" where it went well.

    first_s: when the first token came (a search has none: as ended_s). tokens: pieces of the answer.
    """

    scenario: str
    due_s: float
    sent_s: float
    first_s: float
    ended_s: float
    status: int
    tokens: int
    error: str

    @property
    def latency_s(self) -> float:
        """From the moment at which it was due, not from that at which it could be sent."""
        return self.ended_s - self.due_s

    @property
    def first_token_s(self) -> float:
        """From the moment at which it was due to the first token."""
        return self.first_s - self.due_s


def write(path: Path, records: Iterable[Record]) -> None:
    """One line a record, under a line of names."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(field.name for field in fields(Record))
        out.writerows(
            [round(value, 5) if isinstance(value, float) else value for value in astuple(record)] for record in records
        )


def read(path: Path) -> list[Record]:
    """What write() wrote."""
    with path.open(newline="") as file:
        return [
            Record(
                row["scenario"],
                *(float(row[name]) for name in ("due_s", "sent_s", "first_s", "ended_s")),
                status=int(row["status"]),
                tokens=int(row["tokens"]),
                error=row["error"],
            )
            for row in csv.DictReader(file)
        ]
