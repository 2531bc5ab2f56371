"""Rivals in virtual environments of their own, made once: they want other versions of what the product uses."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

VENVS = Path(__file__).resolve().parents[2] / ".venvs"

# The largest has 1.4 GB, half of it torch.
INSTALL_LIMIT_S = 900


class NotInstalled(Exception):
    """The environment could not be made; the text is pip's last line."""


def ensure(folder: Path, requirements: Path, program: str) -> Path:
    """The program in `folder`, installed first where the requirements have changed or it is not there.

    program: its name in the environment's bin/. Fails with NotInstalled; an environment that was not finished is
    removed, and made anew the next time.
    """
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    path = folder / "bin" / program
    if path.exists() and stamp.exists() and stamp.read_text() == wanted:
        return path
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(requirements)])
        stamp.write_text(wanted)
    finally:
        if not stamp.exists():
            shutil.rmtree(folder, ignore_errors=True)
    return path


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
    except subprocess.CalledProcessError as exc:
        lines = [line for line in (exc.stderr + exc.stdout).splitlines() if line.strip()]
        raise NotInstalled(lines[-1] if lines else f"exit code {exc.returncode}") from exc
    except subprocess.TimeoutExpired as exc:
        raise NotInstalled(f"pip took over {INSTALL_LIMIT_S} s") from exc
