"""A service of a few lines for tests of `up`: `python -m tests.support.toy_service`, under any of four names.

PORT_<NAME> and TOY_<NAME> tell it what to do: "serve", "die" (say why, end with 3), "hang" (never be ready), "full"
(answer that the disk is full), "stubborn" (ignore SIGTERM), "late_death" (serve, then end after a second), "parent"
(serve, with a child process of its own).
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Answer(BaseHTTPRequestHandler):
    how = "serve"

    def do_GET(self) -> None:
        is_full = type(self).how == "full"
        self.send_response(503 if is_full else 200)
        self.end_headers()
        if is_full:
            check = {"name": "model", "ok": False, "detail": "the disk is full", "required": True}
            self.wfile.write(json.dumps({"status": "not_ready", "checks": [check]}).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""


def run(name: str) -> None:
    """Behave as TOY_<NAME> says; note the pid in TOY_DIR/<name>.pid first."""
    how = os.environ.get(f"TOY_{name.upper()}", "serve")
    folder = Path(os.environ["TOY_DIR"])
    if how == "die":
        sys.stderr.write("the model cannot be read\n")
        sys.exit(3)
    _Answer.how = how
    if how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / f"{name}-child.pid").write_text(str(child.pid))
    (folder / f"{name}.pid").write_text(str(os.getpid()))
    if how == "hang":
        time.sleep(600)
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ[f"TOY_{name.upper()}_PORT"])), _Answer)
    if how == "late_death":
        server.timeout = 1
        server.handle_request()
        sys.stderr.write("out of memory\n")
        sys.exit(9)
    server.serve_forever()
