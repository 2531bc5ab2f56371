"""The stack's own nginx.conf run by an nginx of this machine, with other addresses. Run by `python -m`, gets one.

NGINX_PROGRAM names it (NGINX is a variable of nginx itself), else it is the one on PATH, at the usual place, or
Debian's, unpacked beside the environment: its package would start a server on port 80.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.support.live import free_port
from tests.support.replicas import until

CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "nginx"
UNPACKED = Path(sys.prefix) / "nginx" / "usr" / "sbin" / "nginx"
ADVICE = (
    "the proxy's tests need nginx: install one (Debian: `sudo apt-get install nginx`; Mac: `brew install nginx`), "
    "or set NGINX_PROGRAM to it"
)


def find_nginx() -> str | None:
    """The path of an nginx, or None."""
    named = os.environ.get("NGINX_PROGRAM")
    if named:
        return named if Path(named).is_file() else None
    places = [shutil.which("nginx"), "/usr/sbin/nginx", str(UNPACKED)]
    return next((place for place in places if place and Path(place).is_file()), None)


@dataclass
class Proxy:
    """A running nginx. `rag` and `embedding` are its addresses."""

    folder: Path
    rag: str
    embedding: str
    process: subprocess.Popen[bytes]

    def lines(self) -> list[dict[str, str]]:
        """Its access log, oldest first."""
        found = (self.folder / "access.log").read_bytes().splitlines()
        return [orjson.loads(line) for line in found]


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """`text` with each change made; fails where what is to be changed is not there exactly once."""
    for before, after in changes.items():
        assert text.count(before) == 1, f"{before!r} is there {text.count(before)} times"
        text = text.replace(before, after)
    return text


def servers(name: str, ports: Sequence[int]) -> str:
    """The file of this name with these ports of loopback in place of the one address that Docker's DNS resolves."""
    line = (CONFIG / f"{name}-servers.conf").read_text()
    address = {"rag": "rag-server:8000 resolve", "embedding": "embedding-server:8001 resolve"}[name]
    return "".join(replaced(line, {address: f"127.0.0.1:{port}"}) for port in ports)


@contextmanager
def proxied(
    folder: Path,
    rag: Sequence[int],
    embedding: Sequence[int],
    changes: Mapping[str, str] | None = None,
    files: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[Proxy]:
    """nginx over these ports, by the stack's own file; only addresses differ, and what `changes` says.

    files: changes of the files that name the servers, in place of ports.
    """
    program = find_nginx()
    assert program is not None, ADVICE
    folder.mkdir()
    ports = free_port(), free_port()
    addresses = {
        "listen 8000;": f"listen 127.0.0.1:{ports[0]};",
        "listen 8001;": f"listen 127.0.0.1:{ports[1]};",
        "access_log /dev/stdout": "access_log access.log",
        # Workers of a server that root starts become nobody, who may not read the folders of a test.
        "pid nginx.pid;": "pid nginx.pid;" + (" user root;" if os.geteuid() == 0 else ""),
    }
    text = (CONFIG / "nginx.conf").read_text()
    (folder / "nginx.conf").write_text(replaced(text, {**addresses, **(changes or {})}))
    for name, those in (("rag", rag), ("embedding", embedding)):
        (folder / f"{name}-servers.conf").write_text(servers(name, those))
    for name, other in (files or {}).items():
        (folder / name).write_text(replaced((CONFIG / name).read_text(), other))
    with (folder / "error.log").open("ab") as log:
        command = [program, "-p", f"{folder}/", "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        until((folder / "nginx.pid").exists, f"nginx runs; {folder}/error.log tells why not")
        yield Proxy(folder, f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def main() -> int:
    """Find one, else unpack Debian's; 0 where there is one at the end."""
    found = find_nginx()
    if found is None and shutil.which("apt-get"):
        sys.stderr.write("unpacking Debian's nginx for the proxy's tests\n")
        root = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*root, "apt-get", "update", "-q"], stdout=subprocess.DEVNULL, check=False)
        into = Path(sys.prefix) / "nginx"
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "download", "-q", "nginx"], cwd=folder, stdout=subprocess.DEVNULL, check=False)
            for package in Path(folder).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", str(package), str(into)], check=False)
        found = find_nginx()
    sys.stderr.write("" if found else ADVICE + "\n")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
