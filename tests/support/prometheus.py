"""Debian's Prometheus and Alertmanager: on PATH, in MONITORING_TOOLS, or unpacked into .venv/monitoring of this clone.

Run by `python -m`, or by the first test that needs one, the packages are downloaded and unpacked where none is, and
nothing is started on the machine, as an installation would. Debian's Alertmanager looks for its templates under
/usr/share only, so that they are put there: that needs root, as the full disk of tests/monitoring does.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

UNPACKED = Path(__file__).resolve().parents[2] / ".venv" / "monitoring"

# Package -> its programs, by the names that this project calls them.
PACKAGES = {
    "prometheus": ("prometheus", "promtool"),
    "prometheus-alertmanager": ("alertmanager", "amtool"),
}
TEMPLATES = Path("/usr/share/prometheus/alertmanager")

# Debian's name where it differs.
DEBIAN_NAMES = {"alertmanager": "prometheus-alertmanager"}

ADVICE = (
    "the tests of monitoring need Prometheus and Alertmanager: on Debian and Ubuntu they are downloaded (apt-get); "
    "elsewhere set MONITORING_TOOLS to a folder that holds prometheus, promtool, alertmanager and amtool"
)


def find_tool(name: str) -> Path | None:
    """The path of one of the four programs, or None."""
    folders = [os.environ.get("MONITORING_TOOLS", ""), str(UNPACKED / "usr" / "bin")]
    for folder in folders:
        for called in (name, DEBIAN_NAMES.get(name, name)):
            if folder and (Path(folder) / called).is_file():
                return Path(folder) / called
    found = shutil.which(name) or shutil.which(DEBIAN_NAMES.get(name, name))
    return None if found is None else Path(found)


def tool(name: str) -> Path:
    """The path of one of the four programs, unpacked now where there is none. Fails with ADVICE."""
    found = find_tool(name)
    if found is None or (found.is_relative_to(UNPACKED) and not TEMPLATES.is_dir()):
        unpack()
        found = find_tool(name)
    assert found is not None, ADVICE
    return found


def unpack() -> None:
    """Download the packages (30 MB) and unpack them into UNPACKED; where that fails there is nothing there."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return
    sys.stderr.write("downloading Debian's Prometheus and Alertmanager for the tests of monitoring (30 MB)\n")
    UNPACKED.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED.parent) as draft:
        download = ["apt-get", "download", "-q", *PACKAGES]
        if subprocess.run(download, cwd=draft, capture_output=True).returncode and os.geteuid() == 0:
            subprocess.run(["apt-get", "update", "-q"], capture_output=True)  # a machine that never asked for its lists
            subprocess.run(download, cwd=draft, capture_output=True)
        for package in Path(draft).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, Path(draft) / "root"], check=True)
        # The programs alone: the rest is links to files of packages that are not there.
        if (programs := Path(draft) / "root" / "usr" / "bin").is_dir():
            shutil.copytree(programs, UNPACKED / "usr" / "bin", dirs_exist_ok=True)
            shutil.copytree(Path(draft) / "root" / TEMPLATES.relative_to("/"), TEMPLATES, dirs_exist_ok=True)


def main() -> int:
    """0 where all four are there at the end."""
    names = [name for programs in PACKAGES.values() for name in programs]
    for name in names:
        with suppress(AssertionError):
            tool(name)
    missing = [name for name in names if find_tool(name) is None]
    sys.stderr.write(f"{ADVICE} (missing: {', '.join(missing)})\n" if missing else "")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
