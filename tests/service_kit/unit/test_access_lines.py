"""The line of each request goes past the logging module where nobody would see the difference, and only there."""

import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from fastapi.testclient import TestClient

from service_kit.logs import configure_logging
from tests.service_kit.conftest import Toy


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root, access = logging.getLogger(), logging.getLogger("service_kit.access")
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    access.filters.clear()


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The loggers of all records that are made: the way past the logging module makes none."""
    made: list[str] = []
    factory = logging.getLogRecordFactory()

    def making(name: str, *rest: object, **fields: object) -> logging.LogRecord:
        made.append(name)
        return factory(name, *rest, **fields)

    monkeypatch.setattr(logging, "_logRecordFactory", making)
    return made


class Collected(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record)


def access_lines(text: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["logger"] == "service_kit.access"]


def ask(client: TestClient, path: str = "/busy") -> int:
    return client.get(path, headers={"x-request-id": "abc"}).status_code


def test_the_line_is_the_same_by_both_ways(
    client: TestClient, capsys: pytest.CaptureFixture[str], records: list[str]
) -> None:
    configure_logging("toy")
    ask(client)
    assert "service_kit.access" not in records
    logging.getLogger().addHandler(Collected())
    ask(client)
    assert "service_kit.access" in records
    past, through = access_lines(capsys.readouterr().err)
    assert list(past) == list(through)
    assert {name: type(value) for name, value in past.items()} == {name: type(value) for name, value in through.items()}
    differ = {name for name in past if past[name] != through[name]}
    assert differ <= {"time", "duration_ms"}
    assert (past["method"], past["route"], past["status"], past["request_id"]) == ("GET", "/busy", 429, "abc")
    assert len(str(past["time"])) == len(str(through["time"])) == len("2026-11-26T01:55:54.123Z")


@pytest.mark.parametrize("where", ["", "service_kit.access"])
def test_who_adds_a_handler_gets_the_record(where: str, client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")
    collected = Collected()
    logger = logging.getLogger(where)
    logger.addHandler(collected)
    try:
        ask(client)
    finally:
        logger.removeHandler(collected)
    assert [record.name for record in collected.seen if record.name.startswith("service_kit")] == ["service_kit.access"]
    assert len(access_lines(capsys.readouterr().err)) == 1


@pytest.mark.parametrize("is_on_the_handler", [True, False])
def test_a_filter_is_obeyed(is_on_the_handler: bool, client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")
    filtered = logging.getLogger().handlers[0] if is_on_the_handler else logging.getLogger("service_kit.access")
    filtered.addFilter(lambda record: False)
    ask(client)
    assert access_lines(capsys.readouterr().err) == []


def test_a_logger_that_hands_nothing_on_writes_none(
    client: TestClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging("toy")
    monkeypatch.setattr(logging.getLogger("service_kit.access"), "propagate", False)
    ask(client)
    assert access_lines(capsys.readouterr().err) == []


def test_a_line_is_there_at_once(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", stream)
        configure_logging("toy")
        ask(client)
        assert len(access_lines(path.read_text())) == 1


def test_a_level_of_warning_silences_it(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy", "WARNING")
    ask(client)
    assert capsys.readouterr().err == ""


def test_a_handler_for_warnings_alone_writes_none(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")
    logging.getLogger().handlers[0].setLevel(logging.WARNING)
    ask(client)
    assert access_lines(capsys.readouterr().err) == []


def test_a_probe_is_a_line_at_debug_alone(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")
    ask(client, "/healthz")
    assert access_lines(capsys.readouterr().err) == []
    configure_logging("toy", "DEBUG")
    ask(client, "/healthz")
    (line,) = access_lines(capsys.readouterr().err)
    assert (line["level"], line["route"]) == ("DEBUG", "/healthz")


def closed() -> TextIO:
    stream = open(os.devnull, "w")  # noqa: SIM115
    stream.close()
    return stream


def unread() -> TextIO:
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w")


def full() -> TextIO:
    return open("/dev/full", "w")


@pytest.mark.parametrize("make", [closed, unread, full, lambda: None])
def test_a_log_that_nobody_can_write_breaks_no_request(make: type, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = make()
    with monkeypatch.context() as patched:
        patched.setattr("sys.stderr", stream)
        configure_logging("toy")
    assert ask(TestClient(toy.app)) == 429
    assert ask(TestClient(toy.app)) == 429
    if stream is not None and not stream.closed:
        os.close(stream.fileno())  # its destructor would try to write what is left in its buffer


def test_lines_of_many_threads_are_whole(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", stream)
        configure_logging("toy")

        def chatter() -> None:
            for number in range(300):
                logging.getLogger("toy").info("x" * 3000, extra={"number": number})

        threads = [threading.Thread(target=chatter) for _ in range(3)]
        for thread in threads:
            thread.start()
        client = TestClient(toy.app)
        for _ in range(100):
            ask(client)
        for thread in threads:
            thread.join()
        logging.getLogger().handlers.clear()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum(line["logger"] == "toy" for line in lines) == 900
    assert sum(line["logger"] == "service_kit.access" for line in lines) == 100
