"""A watched file of words, the ways in which it changes, and waiting until that is noticed."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_service.core.watched import Watched
from service_kit.secrets import ReadFile, read_secret

SETTING = "LLM_TEST_FILE"


def words_of(path: Path) -> Callable[[ReadFile], list[str]]:
    """A parser of words: `bad` is refused, `bug` meets a fault of ours, and /a/path becomes the secret in it."""

    def parse(read: ReadFile) -> list[str]:
        words = read(path).decode().split()
        if "bad" in words:
            raise ValueError(f"{path}: a bad word")
        if "bug" in words:
            raise KeyError("sk-planted")
        return [read_secret(Path(word), read).get_secret_value() if "/" in word else word for word in words]

    return parse


def watched(path: Path) -> Watched[list[str]]:
    return Watched(SETTING, words_of(path), every_s=0.01, settle_s=0.005)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds; fails after half a minute, which is no promise but the end of a test that would hang."""
    deadline = time.monotonic() + 30
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail("it did not come to hold within 30 s")
        await asyncio.sleep(0.005)


def write(path: Path, text: str) -> None:
    path.write_text(text)


def delete(path: Path) -> None:
    path.unlink()
