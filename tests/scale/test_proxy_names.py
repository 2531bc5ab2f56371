"""Replicas that come and go by name, as Docker's DNS tells them; for an nginx that has `resolve` (1.27.3 and newer)."""

import re
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.support.live import free_port
from tests.support.nginx import ADVICE, find_nginx, proxied
from tests.support.replicas import until


def has_resolve() -> bool:
    program = find_nginx()
    assert program is not None, ADVICE
    told = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", told)
    assert found is not None, told
    return tuple(map(int, found.groups())) >= (1, 27, 3)


pytestmark = pytest.mark.skipif(
    not has_resolve(),
    reason="this nginx has no `resolve` in an upstream; NGINX_PROGRAM can name one of 1.27.3 or newer",
)


class Names:
    """A DNS server that gives every name the same addresses."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            asked, caller = self._socket.recvfrom(512)
            self.asked += 1
            head = asked[:2] + struct.pack(">HHHHH", 0x8180, 1, len(self.addresses), 0, 0)
            record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4)  # an address, for a second
            self._socket.sendto(
                head + asked[12:] + b"".join(record + socket.inet_aton(a) for a in self.addresses), caller
            )


@contextmanager
def replica(address: str, port: int) -> Iterator[None]:
    """Something that answers with its own address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(address)))
            self.end_headers()
            self.wfile.write(address.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def test_replicas_are_found_by_name_also_those_that_come_later_and_none_is_needed_at_the_start(tmp_path: Path) -> None:
    names, port = Names(), free_port()
    files = {"rag-servers.conf": {"rag-server:8000": f"rag-server:{port}"}}
    changes = {"resolver 127.0.0.11 ": f"resolver 127.0.0.1:{names.port} "}
    with proxied(tmp_path / "nginx", [], [1], changes, files) as proxy:

        def answers() -> set[str]:
            found = [httpx.get(f"{proxy.rag}/v1/repositories", timeout=30) for _ in range(12)]
            return {one.text if one.status_code == 200 else str(one.status_code) for one in found}

        assert answers() == {"503"}  # nobody has the name yet
        with replica("127.0.0.3", port):
            names.addresses = ["127.0.0.3"]
            until(lambda: answers() == {"127.0.0.3"}, "the first one is found")
            with replica("127.0.0.2", port):
                names.addresses = ["127.0.0.2", "127.0.0.3"]
                until(lambda: answers() == {"127.0.0.2", "127.0.0.3"}, "the second one is found")
                names.addresses = ["127.0.0.3"]  # Docker takes the name away, then the container goes
                until(lambda: answers() == {"127.0.0.3"}, "the second one is left out")
            assert answers() == {"127.0.0.3"}
