"""What `make test-vllm` stands on, tested where no vLLM is: its model is the same each time, its processes do end."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.support.tiny_qwen2 import write_tiny_qwen2

ROOT = Path(__file__).resolve().parents[3]


def test_the_tiny_model_is_the_same_at_every_run(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write_tiny_qwen2(folder)
        digests.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()})
    assert digests[0] == digests[1]
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= digests[0].keys()


def test_its_tokenizer_gives_any_text_back(tmp_path: Path) -> None:
    write_tiny_qwen2(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "def größe(x):\n    return x  # 量 🙂"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def leashed(tmp_path: Path, script: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A shell under the leash, and the process ids that it has written."""
    told = tmp_path / "pids"
    command = [sys.executable, "-m", "tests.support.leashed", "sh", "-c", f"{script.format(told=told)}"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 20
    while not told.exists() or len(told.read_text().split()) < 2:
        assert time.monotonic() < deadline, "the command has not begun"
        time.sleep(0.02)
    return process, [int(pid) for pid in told.read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and waits for its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc which processes are alive")
A_FAMILY = "sleep 300 & echo $! $$ > {told}; wait"
A_DEAF_FAMILY = "trap '' TERM; sleep 300 & echo $! $$ > {told}; wait; wait"


@needs_proc
@pytest.mark.parametrize("script", [A_FAMILY, A_DEAF_FAMILY], ids=["that obeys", "that ignores SIGTERM"])
def test_a_server_and_its_children_end_when_the_tests_are_gone(tmp_path: Path, script: str) -> None:
    process, pids = leashed(tmp_path, script)
    assert all(map(is_alive, pids))
    assert process.stdin is not None
    process.stdin.close()  # as the end of the tests does, however they end
    process.wait(20)
    assert not any(map(is_alive, pids))


@needs_proc
def test_a_server_and_its_children_end_with_a_leash_that_is_told_to(tmp_path: Path) -> None:
    process, pids = leashed(tmp_path, A_FAMILY)
    os.kill(process.pid, signal.SIGTERM)
    process.wait(20)
    assert not any(map(is_alive, pids))


@needs_proc
def test_children_of_a_server_that_died_end_too(tmp_path: Path) -> None:
    process, (child, shell) = leashed(tmp_path, A_FAMILY)
    os.kill(shell, signal.SIGKILL)
    process.wait(20)
    assert not is_alive(child)
