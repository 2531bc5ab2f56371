"""What the benchmarks' command lines share: options, progress, the file that keeps the whole result."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results"


def positive(word: str) -> int:
    """An option's value as a number of at least 1. Fails as argparse wants it."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def some_of(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """A reader of names separated by commas, each of which must be known."""

    def names(word: str) -> tuple[str, ...]:
        named = tuple(word.split(","))
        if unknown := set(named) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return named

    return names


def keep(kind: str, whole: Mapping[str, object]) -> Path:
    """Write the whole result under benchmarks/results/; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(whole, indent=1))
    return path


def say(line: str) -> None:
    """A line for who waits; standard output is the result's."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201
