"""The request id: taken from the caller or made here, and carried to every log line and every outgoing call."""

import random
import re
from contextvars import ContextVar

REQUEST_ID_HEADER = "x-request-id"

request_id: ContextVar[str] = ContextVar("request_id", default="-")

# Callers' ids are echoed into headers and logs: short and plain, or replaced.
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def accept_or_make(offered: str | None) -> str:
    """The id to use for a request: the caller's where it is plain and short, else a new one."""
    if offered and _ACCEPTABLE.fullmatch(offered):
        return offered
    # It is no secret: the system's own random bytes take 4 us, with the switch to the kernel.
    return f"{random.getrandbits(128):032x}"
