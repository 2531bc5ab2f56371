"""The command line against a live server with canned answers."""

from collections.abc import Iterator

import pytest

from tests.support.cli import Cli
from tests.support.fake_rag import FakeRag
from tests.support.live import live


@pytest.fixture
def rag() -> FakeRag:
    return FakeRag()


@pytest.fixture
def cli(rag: FakeRag, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    with live(rag.app()) as url:
        yield Cli(url, capsys)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
