"""Log lines are JSON objects that carry the request id."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from service_kit.context import request_id
from service_kit.logs import configure_logging


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    line: dict[str, object] = json.loads(capsys.readouterr().err.splitlines()[-1])
    return line


def test_a_line_says_who_when_and_for_which_request(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")
    token = request_id.set("abc")
    logging.getLogger("toy.orders").warning("refused", extra={"code": "overloaded"})
    request_id.reset(token)
    line = last_line(capsys)
    assert line["service"] == "toy"
    assert line["request_id"] == "abc"
    assert line["level"] == "WARNING"
    assert line["message"] == "refused"
    assert line["code"] == "overloaded"
    written = datetime.fromisoformat(str(line["time"]))
    assert written.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)


def test_an_exception_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy", "DEBUG")
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("toy").exception("failed")
    assert "ValueError: odd" in str(last_line(capsys)["exception"])


def test_the_level_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy", "WARNING")
    logging.getLogger("toy").info("chatter")
    assert capsys.readouterr().err == ""
