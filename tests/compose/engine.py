"""A Docker Engine for the tests of the stack: the one that is there, or one unpacked from Debian's packages.

`python -m tests.compose.engine` prints what a shell needs to reach it. Where no engine answers, one is started on a
Debian 12 machine with root: Debian 13's Engine and Compose (12 has no Compose v2) with Debian 12's runc, in a folder of
its own. Nothing is installed but iptables and runc, and no image can be pulled by it where no registry is reached.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(os.environ.get("TEST_ENGINE_DIR", "/var/tmp/code-assistant-engine"))

# docker0 and the packet filter's tables are the machine's: there is one engine at a time.
_PACKAGES = ("docker.io", "containerd", "docker-cli", "docker-compose", "docker-buildx", "tini")
_PROGRAMS = (
    "usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/ctr", "usr/bin/docker",
    "usr/sbin/dockerd", "usr/sbin/docker-proxy",
)  # fmt: skip
_START_S = 60


def environment() -> dict[str, str]:
    """What a command must have in its environment to reach the engine; the engine is started where none answers."""
    if _answers({}):
        return {}
    ours = {
        "DOCKER_HOST": f"unix://{FOLDER}/docker.sock",
        "DOCKER_CONFIG": f"{FOLDER}/config",
        "PATH": f"{FOLDER}/bin:{os.environ['PATH']}",
    }
    if not _answers(ours):
        if not (FOLDER / "bin" / "dockerd").exists():
            _unpack()
        _start(ours)
    return ours


def stop() -> None:
    """End the engine that environment() started, and no other."""
    pid = FOLDER / "dockerd.pid"
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(pid.read_text()), signal.SIGTERM)
        deadline = time.monotonic() + _START_S
        while pid.exists() and time.monotonic() < deadline:
            time.sleep(0.2)


def _answers(extra: dict[str, str]) -> bool:
    # With our own folder's client where there is no other.
    told = {**os.environ, **extra}
    docker = shutil.which("docker", path=told["PATH"])
    if docker is None:
        return False
    asked = [docker, "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(asked, env=told, capture_output=True, check=False).returncode == 0


def _unpack() -> None:
    root = [] if os.geteuid() == 0 else ["sudo"]
    if not (shutil.which("iptables") and shutil.which("runc")):
        for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", "iptables", "runc"]):
            _run(*root, "apt-get", *command)
    with _fresh(FOLDER / "unpacked") as unpacked, _fresh(FOLDER / "apt") as apt:
        for name in ("lists/partial", "cache/archives/partial"):
            (apt / name).mkdir(parents=True)
        (apt / "sources.list").write_text(
            f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {_mirror()} trixie main\n"
        )
        (apt / "apt.conf").write_text(
            f'Dir::Etc::sourcelist "{apt}/sources.list";\nDir::Etc::sourceparts "-";\n'
            f'Dir::State::lists "{apt}/lists";\nDir::Cache "{apt}/cache";\n'
        )
        for command in (["update", "-q"], ["download", "-q", *_PACKAGES]):
            _run("apt-get", *command, cwd=apt, APT_CONFIG=str(apt / "apt.conf"))
        for package in apt.glob("*.deb"):
            _run("dpkg-deb", "-x", str(package), str(unpacked))
        for folder in ("bin", "config/cli-plugins"):
            (FOLDER / folder).mkdir(parents=True, exist_ok=True)
        for program in _PROGRAMS:
            shutil.copy2(unpacked / program, FOLDER / "bin")
        for plugin in ("docker-compose", "docker-buildx"):
            shutil.copy2(unpacked / "usr/libexec/docker/cli-plugins" / plugin, FOLDER / "config/cli-plugins")
        # What `init: true` runs as a container's first process.
        shutil.copy2(unpacked / "usr/bin/tini-static", FOLDER / "bin/docker-init")


def _mirror() -> str:
    """Where this machine has its own Debian packages from."""
    asked = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Origin: Debian"]
    sites = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    return next(site for site in sites if "security" not in site)


def _start(ours: dict[str, str]) -> None:
    command = ["dockerd", "--data-root", f"{FOLDER}/data", "--exec-root", f"{FOLDER}/exec"]
    command += ["--pidfile", f"{FOLDER}/dockerd.pid", "--host", ours["DOCKER_HOST"]]
    with (FOLDER / "log").open("ab") as log:
        subprocess.Popen(
            [f"{FOLDER}/bin/dockerd", *command[1:]], env={**os.environ, **ours}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    deadline = time.monotonic() + _START_S
    while not _answers(ours):
        if time.monotonic() > deadline:
            raise SystemExit("the engine did not start:\n" + (FOLDER / "log").read_text("utf-8", "replace")[-2000:])
        time.sleep(0.3)


@contextlib.contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def _run(*command: str, cwd: Path | None = None, **extra: str) -> None:
    told = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", **extra}
    done = subprocess.run(command, env=told, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed, and so there is no Docker Engine:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    if sys.argv[1:] == ["stop"]:
        stop()
    else:
        print(" ".join(["export", *(f"{name}='{value}'" for name, value in environment().items())]))
