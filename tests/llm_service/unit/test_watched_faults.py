"""Files that cannot be used, at the start or later: what is told of them, what stays in force; what is no secret."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from service_kit.secrets import MAX_SECRET_BYTES, read_secret
from tests.support.watching import SETTING, delete, until, watched, write


def test_a_bad_or_missing_file_at_the_start_is_refused_in_words(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"cannot read {tmp_path}/none: No such file or directory"):
        watched(tmp_path / "none")
    write(path, "bad")
    with pytest.raises(ValueError, match=f"{path}: a bad word"):
        watched(path)


@pytest.mark.timeout(60)
def test_a_folder_or_a_pipe_is_refused_and_waited_for_by_nobody(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"cannot read {tmp_path}: "):
        watched(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError, match=f"cannot read {pipe}: it is not a regular file"):
        watched(pipe)
    for _ in range(10):
        with pytest.raises(ValueError, match="cannot read"):
            watched(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before  # no descriptor is left open


async def test_a_bad_file_keeps_the_old_value_and_is_told_of_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = watched(path)
    async with words.watching():
        write(path, "one bad")
        await until(lambda: words.problem is not None)
        assert words.value == ["one", "two"]
        for _ in range(3):
            os.utime(path)  # the same again
            words.reload()
            await asyncio.sleep(0.03)
        said = f"{SETTING} has changed and is not used, what was read before stays in force: {path}: a bad word"
        assert words.problem == said
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [said]
        write(path, "two bad")
        await until(lambda: len(caplog.records) == 2)
        write(path, "three")
        await until(lambda: words.problem is None)
        assert words.value == ["three"]
        write(path, "two bad")
        await until(lambda: words.problem is not None)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 3


async def test_the_file_as_it_was_ends_the_problem(path: Path) -> None:
    words = watched(path)
    before = words.value
    write(path, "bad")
    words.reload()
    assert words.problem is not None
    write(path, "one two")
    words.reload()
    assert (words.problem, words.value is before) == (None, True)


async def test_a_deleted_file_is_a_problem_until_it_is_back(path: Path) -> None:
    words = watched(path)
    async with words.watching():
        delete(path)
        await until(lambda: f"cannot read {path}: No such file or directory" in (words.problem or ""))
        assert words.value == ["one", "two"]
        write(path, "back")
        await until(lambda: words.value == ["back"])
    assert words.problem is None


async def test_a_named_file_that_comes_later_mends_the_fault(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "late"
    words = watched(path)
    async with words.watching():
        write(path, f"key {secret}")
        await until(lambda: f"cannot read {secret}" in (words.problem or ""))
        write(secret, "sk-1")
        await until(lambda: words.value == ["key", "sk-1"])


async def test_a_fault_of_ours_neither_ends_the_watching_nor_shows_what_was_read(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = watched(path)
    async with words.watching():
        write(path, "bug")
        await until(lambda: "KeyError while reading it" in (words.problem or ""))
        write(path, "three")
        await until(lambda: words.value == ["three"])
    assert "sk-planted" not in caplog.text


@pytest.mark.parametrize("content", [b"sk-planted", b"sk-planted\n", b"sk-planted\r\n"])
def test_a_secret_is_a_files_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    secret = read_secret(path)
    assert secret.get_secret_value() == "sk-planted"
    assert "sk-planted" not in repr(secret)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"sk-planted\n\n", "more than one line"),
        (b"sk-planted\nsk-planted\n", "more than one line"),
        (b" sk-planted", "spaces"),
        (b"sk-planted\x00", "other characters that no key has"),
        ("sk-plänted sk-planted".encode(), "other characters that no key has"),
        (b"sk-planted" * (MAX_SECRET_BYTES // 10) + b"!", "has 10001 bytes, and a secret at most 10000"),
    ],
)
def test_what_is_no_secret_is_refused_by_its_path_alone(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} .*{words}") as failed:
        read_secret(path)
    assert "sk-planted" not in repr(failed.value)


def test_a_secret_at_the_limit_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x" * MAX_SECRET_BYTES)
    assert len(read_secret(path).get_secret_value()) == MAX_SECRET_BYTES
