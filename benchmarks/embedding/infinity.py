"""infinity-emb in a virtual environment of its own, made once: it wants older versions of what the product uses."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".venvs" / "infinity"
REQUIREMENTS = Path(__file__).with_name("requirements-infinity.txt")

# 1.4 GB, half of it torch.
INSTALL_LIMIT_S = 900


class NotInstalled(Exception):
    """The environment could not be made; the text is pip's last line."""


def ensure(folder: Path = FOLDER, requirements: Path = REQUIREMENTS) -> Path:
    """The program `infinity_emb`, installed first where the requirements have changed or it is not there.

    Fails with NotInstalled; an environment that was not finished is removed, and made anew the next time.
    """
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    program = folder / "bin" / "infinity_emb"
    if program.exists() and stamp.exists() and stamp.read_text() == wanted:
        return program
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(requirements)])
        stamp.write_text(wanted)
    finally:
        if not stamp.exists():
            shutil.rmtree(folder, ignore_errors=True)
    return program


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
    except subprocess.CalledProcessError as exc:
        lines = [line for line in (exc.stderr + exc.stdout).splitlines() if line.strip()]
        raise NotInstalled(lines[-1] if lines else f"exit code {exc.returncode}") from exc
    except subprocess.TimeoutExpired as exc:
        raise NotInstalled(f"pip took over {INSTALL_LIMIT_S} s") from exc
