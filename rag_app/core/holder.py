"""Who holds a lease: a process of a machine, by a name that tells whether it still lives."""

import os
import socket
import uuid


def holder_name() -> str:
    """A new name for this process, which no other has."""
    return f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


def is_dead(holder: str) -> bool:
    """Whether a holder is a process of this machine that has ended; False where that cannot be known."""
    host, _, rest = holder.partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
