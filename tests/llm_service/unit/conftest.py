"""What several of the unit tests begin with: two backends, a file of words, backends from a file, a little time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llm_service.core.backends import Backend, backends_of
from llm_service.core.settings import LlmSettings
from tests.support.backends import MemoryBackend

ENV = {"GPU_KEY": "sk-of-the-gpu"}
LONG_S = 60.0


@pytest.fixture
def a() -> MemoryBackend:
    return MemoryBackend("a")


@pytest.fixture
def b() -> MemoryBackend:
    return MemoryBackend("b")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "words"
    path.write_text("one two")
    return path


def given_settings(**values: Any) -> LlmSettings:
    return LlmSettings(_env_file=None, **values)


def read(**values: Any) -> tuple[Backend, ...]:
    return backends_of(given_settings(**values), environment=ENV)


def from_toml(folder: Path, text: str | bytes) -> tuple[Backend, ...]:
    path = folder / "backends.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(llm_backends_file=path)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
