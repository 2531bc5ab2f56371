"""Stand-ins for the base images of our Dockerfiles, where no registry can be reached.

`python -m tests.compose.base_image` makes them. They hold Debian's Python with pip, venv and git, out of the packages
of this machine, and its certificates. A build over them proves our Dockerfiles and the stack, not the upstream images.
Needs Debian 12 and a running engine.
"""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

# Image -> what it has beside Debian's essential packages. Upstream's slim image has no git, and no less than these.
IMAGES = {
    "python:3.11-slim": ("ca-certificates", "git", "libstdc++6", "passwd", "python3", "python3-pip", "python3-venv"),
    "python:3.11": (
        "binutils",
        "ca-certificates",
        "git",
        "libstdc++6",
        "passwd",
        "python3",
        "python3-pip",
        "python3-venv",
    ),
}

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_LEFT_OUT = ("/usr/share/doc/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/man/")
_MADE = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "etc/group": "root:x:0:\nstaff:x:50:\nshadow:x:42:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\n",
    "etc/gshadow": "root:*::\n",
}
_FOLDERS = ("dev", "proc", "root", "run", "sys", "tmp", "var/log")
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    **dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), _CERTIFICATES),
}


def make(image: str) -> None:
    """Import the stand-in of one of IMAGES into the engine: seconds, and nothing is downloaded."""
    with tempfile.TemporaryFile() as archive:
        _write(archive, _files(_with_dependencies(IMAGES[image])))
        archive.seek(0)
        changes = [part for name, value in _ENVIRONMENT.items() for part in ("--change", f"ENV {name}={value}")]
        subprocess.run(["docker", "import", *changes, "-", image], stdin=archive, check=True, stdout=subprocess.DEVNULL)


def _with_dependencies(seeds: Sequence[str]) -> list[str]:
    """Debian's essential packages, `seeds`, and what they depend on, as installed here."""
    missing = [name for name in seeds if not _lines("dpkg-query", "--listfiles", name)]
    if missing:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", *command], env=environment, check=True, stdout=subprocess.DEVNULL)
    listed = _lines("dpkg-query", "--show", "--showformat=${Essential} ${Package}\n")
    essential = [line.split()[1] for line in listed if line.startswith("yes")]
    only = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    flags = ["--installed", "--recurse", *(f"--no-{kind}" for kind in only)]
    tree = _lines("apt-cache", "depends", *flags, *essential, *seeds)
    return sorted({line for line in tree if line and line[0].isalnum()})


def _files(packages: Sequence[str]) -> set[Path]:
    """Every file of the packages and each folder above it, at its real place: Debian 12 lists /bin and /usr/bin."""
    named = [Path(line) for line in _lines("dpkg-query", "--listfiles", *packages) if line.startswith("/")]
    named += [Path(place) for place in ("/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", _CERTIFICATES)]
    named += Path("/etc/alternatives").iterdir()
    found: set[Path] = set()
    for path in named:
        if str(path).startswith(_LEFT_OUT) or path.name in ("EXTERNALLY-MANAGED", "."):
            continue
        place = Path(os.path.realpath(path.parent)) / path.name
        if os.path.lexists(place) and str(place)[1:] not in _MADE:
            found |= {place, *place.parents}
    return found - {Path(f"/{name}") for name in ("", "dev", "proc", "sys", "tmp")}


def _write(archive: IO[bytes], files: set[Path]) -> None:
    with tarfile.open(fileobj=archive, mode="w|", format=tarfile.GNU_FORMAT) as image:
        for path in sorted(files):
            image.add(path, arcname=str(path)[1:], recursive=False)
        for name in _FOLDERS:
            if Path(f"/{name}") not in files:
                _entry(image, name, tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        for name, text in _MADE.items():
            _entry(image, name, tarfile.REGTYPE, text.encode(), mode=0o640 if "shadow" in name else 0o644)
        for name in ("python", "python3"):
            if Path(f"/usr/local/bin/{name}") not in files:
                _entry(image, f"usr/local/bin/{name}", tarfile.SYMTYPE, link="/usr/bin/python3.11")


def _entry(
    image: tarfile.TarFile, name: str, kind: bytes, content: bytes = b"", link: str = "", mode: int = 0o755
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, len(content), link
    image.addfile(info, io.BytesIO(content))


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


if __name__ == "__main__":
    for name in sys.argv[1:] or IMAGES:
        make(name)
