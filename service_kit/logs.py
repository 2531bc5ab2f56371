"""One JSON object a line on standard error, each with service, level, time and request id."""

import json
import logging
import sys
import threading
import time
import warnings
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TextIO

from pythonjsonlogger.orjson import OrjsonFormatter

from service_kit.context import request_id
from service_kit.discretion import told_exception, told_message

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


# By orjson a line takes 8 us, by json 12.
class _ServiceFormatter(OrjsonFormatter):
    def __init__(self, service: str, is_discreet: bool):
        """is_discreet: leave out what may quote code, prompts or keys (discretion.py)."""
        super().__init__("%(message)s", rename_fields={"exc_info": "exception"})
        self._service = service
        self._is_discreet = is_discreet
        self._second = (-1, "")

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: MutableMapping[str, Any]
    ) -> None:
        log_data["time"] = self._time(record)
        log_data["level"] = record.levelname
        log_data["service"] = self._service
        log_data["logger"] = record.name
        log_data["request_id"] = request_id.get()
        if self._is_discreet and record.name.partition(".")[0] not in (self._service, "service_kit"):
            log_data["message"] = told_message(record)  # and none of the fields that a library adds
            if "exc_info" in message_dict:
                log_data["exception"] = message_dict["exc_info"]
            return
        super().add_fields(log_data, record, dict(message_dict))

    def _time(self, record: logging.LogRecord) -> str:
        """RFC 3339, in UTC: lines of several machines sort as text."""
        second, shown = self._second
        if second != int(record.created):  # formatting one takes 3 us
            second = int(record.created)
            shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second, shown
        return f"{shown}.{int(record.msecs):03d}Z"

    def formatException(self, ei: ExcInfo) -> str:
        if self._is_discreet and ei[1] is not None:
            return told_exception(ei[1])
        return str(super().formatException(ei))

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        try:
            return super().jsonify_log_record(log_data)
        except (TypeError, ValueError):  # half of a surrogate pair, of which orjson makes nothing
            return json.dumps(log_data, default=lambda value: type(value).__name__)


def configure_logging(service: str, level: str = "INFO") -> None:
    """Send every logger of this process to standard error as JSON lines. Call once, in a process's entry point.

    What nobody caught, and what Python warns of, become lines too. Above DEBUG no line holds an exception's text or
    what a library's message quotes: either may be a user's code, question or key.
    """
    # What no line shows: the process, whose number is a call of the system, and the place in the source. Together 10 us
    # of a line's 20; Python's own page on logging names these switches.
    logging.logProcesses = logging.logThreads = logging.logMultiprocessing = False
    logging._srcfile = None
    # A line that cannot be written would else be printed, with all that was to go into it.
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_ServiceFormatter(service, is_discreet=level != "DEBUG"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Our own access line (middleware.py) carries the route and the request id; uvicorn's would say it twice.
    logging.getLogger("uvicorn.access").disabled = True
    # One line a request at INFO, for calls that are already timed and counted.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    _catch_the_rest()


def _catch_the_rest() -> None:
    """Python prints these as plain text, exception and all."""
    log = logging.getLogger("service_kit.uncaught")

    def ended(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, exc, trace)
            return
        log.critical("the process ends by a failure", exc_info=exc)

    def thread_ended(told: threading.ExceptHookArgs) -> None:
        log.error("a thread ended by a failure", exc_info=told.exc_value)

    def unraisable(told: Any) -> None:
        log.error("a failure that could not be raised", exc_info=told.exc_value)

    def warned(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = {"detail": str(message)} if log.isEnabledFor(logging.DEBUG) else {}
        log.warning("Python warns", extra={"category": category.__name__, "place": f"{filename}:{lineno}", **text})

    sys.excepthook, threading.excepthook, sys.unraisablehook = ended, thread_ended, unraisable
    warnings.showwarning = warned
