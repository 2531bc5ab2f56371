"""Runs an app until it is told to stop. A port already taken is said in words, with the setting that changes it."""

import contextlib
import gc
import resource
import socket
import sys

import uvicorn
from starlette.types import ASGIApp

from service_kit.protocol import IDLE_TIMEOUT_S, ServiceProtocol
from service_kit.settings import USAGE_ERROR

_MOST_OPEN_FILES = 65_536

# Objects made and not freed before the collector looks at them; Python's own 700 is from the time of small memories.
_NEW_OBJECTS = 10_000


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A socket bound to host:port (0: any free one). Ends the program where the port is taken, naming `setting`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        reason = exc.strerror or str(exc)
        print(f"cannot listen on {host}:{port}: {reason}; set {setting} to another port", file=sys.stderr)  # noqa: T201
        raise SystemExit(USAGE_ERROR) from exc
    return listener


def _raise_open_files() -> None:
    """As many connections as the system lets this process have: shells start programs with 1,024, or 256."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
    with contextlib.suppress(OSError, ValueError):  # macOS refuses what is over a limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _spare_the_collector() -> None:
    """Leave out of garbage collection what stays for good, the modules and the app, and look at new objects less often.

    Of a forwarded request it took 40 of 250 us, without finding anything: what a request makes, reference counts free.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])


def serve(app: ASGIApp, host: str, port: int, setting: str, *, grace_s: int = 10) -> None:
    """Serve `app` on host:port until SIGINT or SIGTERM. setting: the variable that holds the port.

    grace_s: how long requests in flight may take to end then.
    """
    listener = bind(host, port, setting)
    _raise_open_files()
    config = uvicorn.Config(
        app,
        http=ServiceProtocol,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=grace_s,
        timeout_keep_alive=int(IDLE_TIMEOUT_S),
        server_header=False,
        proxy_headers=False,  # nobody here asks for the client's address or scheme, and looking takes 8 us a request
    )
    _spare_the_collector()
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
