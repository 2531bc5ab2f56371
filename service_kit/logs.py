"""One JSON object a line on standard error, each with service, level, time and request id."""

import contextlib
import json
import logging
import sys
import threading
import time
import warnings
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TextIO

import orjson
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
        log_data.update(self.head(record.created, record.levelname, record.name))
        if self._is_discreet and record.name.partition(".")[0] not in (self._service, "service_kit"):
            log_data["message"] = told_message(record)  # and none of the fields that a library adds
            if "exc_info" in message_dict:
                log_data["exception"] = message_dict["exc_info"]
            return
        super().add_fields(log_data, record, dict(message_dict))

    def head(self, at_s: float, level: str, logger: str) -> dict[str, Any]:
        """What each line begins with. at_s: seconds since 1970; told in UTC, so that lines of machines sort as text."""
        second, shown = self._second
        if second != int(at_s):  # spelt once a second: it takes 2 us
            second = int(at_s)
            shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second, shown
        return {
            "time": f"{shown}.{int((at_s - second) * 1000):03d}Z",
            "level": level,
            "service": self._service,
            "logger": logger,
            "request_id": request_id.get(),
        }

    def formatException(self, ei: ExcInfo) -> str:
        if self._is_discreet and ei[1] is not None:
            return told_exception(ei[1])
        return str(super().formatException(ei))

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        try:
            return super().jsonify_log_record(log_data)
        except (TypeError, ValueError):  # half of a surrogate pair, of which orjson makes nothing
            return json.dumps(log_data, default=lambda value: type(value).__name__)


class JsonLines(logging.StreamHandler[TextIO]):
    """Writes what the logging module gives it and, past that module, lines of few and plain fields.

    A record, its handlers and their formatter are much code for one line: 9 us in a tight loop, but 33 where requests
    come one at a time and the processor has forgotten the code since the last one.
    """

    def __init__(self, service: str, stream: TextIO, *, is_discreet: bool = True):
        """stream: where the lines go, standard error. is_discreet: as _ServiceFormatter's."""
        super().__init__(stream)
        self._lines = _ServiceFormatter(service, is_discreet)
        self.setFormatter(self._lines)

    def write_info(self, logger: str, message: str, fields: dict[str, Any]) -> None:
        """The line that logger.info(message, extra=fields) would write; none where nobody can read it any more."""
        line = orjson.dumps({**self._lines.head(time.time(), "INFO", logger), "message": message, **fields}).decode()
        # A stream that is closed is a ValueError, one that there never was an AttributeError. The lock is for lines
        # that other threads write by way of the logging module.
        with self.lock or contextlib.nullcontext(), contextlib.suppress(AttributeError, OSError, ValueError):
            self.stream.write(line + "\n")
            self.stream.flush()


def plain_handler(logger: logging.Logger) -> JsonLines | None:
    """configure_logging's handler where a logger's INFO lines go to it alone and as they are.

    Whoever adds a handler or a filter of his own, as tests do, gets records as ever.
    """
    root = logger.parent
    if root is None or root.parent is not None or len(root.handlers) != 1:
        return None
    handler = root.handlers[0]
    if logger.handlers or logger.filters or handler.filters or not logger.propagate or handler.level > logging.INFO:
        return None
    return handler if isinstance(handler, JsonLines) else None


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
    handler = JsonLines(service, sys.stderr, is_discreet=level != "DEBUG")
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
