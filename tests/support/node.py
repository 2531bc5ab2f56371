"""Where npm is: on PATH, else Debian's nodejs and npm are installed."""

import os
import shutil
import subprocess

ADVICE = "this test needs npm: install it (Debian: `sudo apt-get install nodejs npm`; Mac: `brew install node`)"


def npm() -> str:
    """The path of npm. Installs Debian's where there is none; fails with ADVICE where that cannot be."""
    if shutil.which("npm") is None and shutil.which("apt-get"):
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-q"],
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", "nodejs", "npm"],
        ):
            if subprocess.run([*root, *command], env=environment, stdout=subprocess.DEVNULL).returncode:
                break
    found = shutil.which("npm")
    assert found is not None, ADVICE
    return found
