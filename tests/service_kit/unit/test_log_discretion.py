"""At the default level no line holds what an exception or a library quotes; at DEBUG it does."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from service_kit.logs import configure_logging

CODE = "def launch_rocket(zanzibar):"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raised = root.handlers[:], root.level, logging.raiseExceptions
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raised
    sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail() -> None:
    try:
        raise ValueError(f"cannot parse {CODE!r}")
    except ValueError as exc:
        raise KeyError(CODE) from exc


@pytest.mark.parametrize(("level", "is_told"), [("INFO", False), ("WARNING", False), ("DEBUG", True)])
def test_an_exceptions_text_is_withheld_and_its_kind_and_place_are_told(
    level: str, is_told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("toy", level)
    try:
        fail()
    except KeyError:
        logging.getLogger("toy").exception("failed")
    told = lines(capsys)[-1]["exception"]
    assert ("zanzibar" in told) is is_told
    assert "in fail" in told
    assert told.index("ValueError") < told.index("KeyError")
    assert "test_log_discretion.py" in told


def test_groups_notes_and_causes_without_end_are_told_without_their_texts(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")
    first, second = ValueError(CODE), TypeError(CODE)
    first.__cause__, second.__cause__ = second, first
    first.add_note(CODE)
    logging.getLogger("toy").error("failed", exc_info=ExceptionGroup(CODE, [first, OSError(CODE)]))
    told = lines(capsys)[-1]["exception"]
    assert "zanzibar" not in told
    assert all(name in told for name in ("ExceptionGroup", "ValueError", "TypeError", "OSError"))


def test_a_recursion_without_end_is_told_by_its_ends(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")

    def descend() -> None:
        descend()

    try:
        descend()
    except RecursionError:
        logging.getLogger("toy").exception("failed")
    told = lines(capsys)[-1]["exception"]
    assert "more between these" in told
    assert len(told.splitlines()) < 60


def test_a_librarys_message_is_its_template(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" 403', ("127.0.0.1", 1), f"/?q={CODE}")
    logging.getLogger("llama_index.core").warning(f"chunk too long: {CODE}", extra={"chunk": CODE})
    logging.getLogger("somebody").warning({"chunk": CODE})
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    told = lines(capsys)
    assert told[0]["message"] == '%s - "WebSocket %s" 403'
    assert told[3]["message"] == "Invalid HTTP request received."
    assert "zanzibar" not in json.dumps(told)


def test_our_own_message_keeps_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")
    logging.getLogger("toy.watch").info("%s was read again", "keys.json", extra={"keys": 3})
    assert lines(capsys)[-1]["message"] == "keys.json was read again"


async def test_a_task_that_nobody_awaited_does_not_tell_its_exception(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")
    loop = asyncio.get_running_loop()
    loop.call_exception_handler({"message": "Task exception was never retrieved", "exception": ValueError(CODE)})
    loop.call_exception_handler({"message": f"Exception in callback work({CODE!r})", "exception": ValueError(CODE)})
    told = lines(capsys)
    assert [line["message"] for line in told] == ["Task exception was never retrieved", "Exception in callback"]
    assert "zanzibar" not in json.dumps(told)
    assert "ValueError" in told[0]["exception"]


def test_an_app_that_fails_to_start_tells_the_kind_of_failure(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("toy")
    frames = f'Traceback (most recent call last):\n  File "a.py", line 1, in a\n    {CODE}'
    text = f"{frames}\nsqlite3.OperationalError: {CODE}\nzanzibar:"
    logging.getLogger("uvicorn.error").error(text)
    assert lines(capsys)[-1]["message"] == "failed with sqlite3.OperationalError"


@pytest.mark.parametrize("ends", ["raise ValueError(CODE)", "threading.Thread(target=lambda: int(CODE)).start()",
                                  "Bad()", "warnings.warn(CODE)", "log.info('odd \\ud800 %s', 1)"])  # fmt: skip
def test_whatever_a_process_ends_by_every_line_is_json_and_tells_no_text(ends: str) -> None:
    program = f"""
import logging, threading, warnings
from service_kit.logs import configure_logging
configure_logging("toy")
log = logging.getLogger("toy")
CODE = "def launch_rocket(" + "zanzi" + "bar):"
class Bad:
    def __del__(self):
        raise ValueError(CODE)
{ends}
"""
    err = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr
    told = [json.loads(line) for line in err.splitlines()]
    assert told
    assert "zanzibar" not in err
