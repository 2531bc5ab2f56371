"""Files that change under a running service, in the ways in which people and machines change them."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_service.core.secrets import MAX_SECRET_BYTES, read_secret
from llm_service.core.watched import ReadFile, Watched

SETTING = "LLM_TEST_FILE"


def words_of(path: Path) -> Callable[[ReadFile], list[str]]:
    """A parser of words: `bad` is refused, `bug` meets a fault of ours, and /a/path becomes the secret in it."""

    def parse(read: ReadFile) -> list[str]:
        words = read(path).decode().split()
        if "bad" in words:
            raise ValueError(f"{path}: a bad word")
        if "bug" in words:
            raise KeyError("sk-planted")
        return [read_secret(Path(word), read).get_secret_value() if "/" in word else word for word in words]

    return parse


def watched(path: Path) -> Watched[list[str]]:
    return Watched(SETTING, words_of(path), every_s=0.01, settle_s=0.005)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "words"
    path.write_text("one two")
    return path


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if holds():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not come to hold within 10 s")


def rename_over(path: Path, text: str) -> None:
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


def write(path: Path, text: str) -> None:
    path.write_text(text)


def rename_with_the_same_time_and_size(path: Path, text: str) -> None:
    """As `cp -p` and archives do."""
    before = path.stat()
    other = path.with_suffix(".new")
    other.write_text(text)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def in_place_with_the_same_time_and_size(path: Path, text: str) -> None:
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def delete(path: Path) -> None:
    path.unlink()


def delete_and_make(path: Path, text: str) -> None:
    delete(path)
    path.write_text(text)


@pytest.mark.parametrize(
    "change",
    [
        rename_over,
        write,
        rename_with_the_same_time_and_size,
        in_place_with_the_same_time_and_size,
        delete_and_make,
    ],
)
async def test_a_change_is_noticed_however_it_is_made(path: Path, change: Callable[[Path, str], None]) -> None:
    words = watched(path)
    async with words.watching():
        await asyncio.sleep(0.03)
        change(path, "one six")  # as long as before
        await until(lambda: words.value == ["one", "six"])
    assert words.problem is None


async def test_a_mount_of_kubernetes_is_swapped(tmp_path: Path) -> None:
    """words -> ..data/words, ..data -> ..v1; ..data is replaced by a link to ..v2, and ..v1 goes."""
    for version, text in (("..v1", "one"), ("..v2", "two")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "words").write_text(text)
        os.utime(tmp_path / version / "words", ns=(0, 0))
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "words").symlink_to("..data/words")
    words = watched(tmp_path / "words")
    async with words.watching():
        (tmp_path / "..new").symlink_to("..v2")
        (tmp_path / "..new").replace(tmp_path / "..data")
        (tmp_path / "..v1" / "words").unlink()
        await until(lambda: words.value == ["two"])


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


async def test_a_file_that_is_only_touched_keeps_the_very_value(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is built upon it, such as connections, need not be built again."""
    caplog.set_level(logging.INFO)
    words = watched(path)
    before = words.value
    os.utime(path)
    words.reload()
    assert words.value is before
    assert caplog.text == ""
    write(path, "three")
    words.reload()
    assert f"{SETTING} was read again and is in force" in caplog.text


@pytest.mark.parametrize("state", ["good", "bad", "missing", "folder", "link"])
async def test_what_does_not_change_is_not_read_again(path: Path, tmp_path: Path, state: str) -> None:
    count = 0

    def parse(read: ReadFile) -> list[str]:
        nonlocal count
        count += 1
        return words_of(path)(read)

    words = Watched(SETTING, parse, every_s=0.005, settle_s=0.005)
    async with words.watching():
        delete(path)
        {
            "good": lambda: write(path, "three"),
            "bad": lambda: write(path, "bad"),
            "missing": lambda: None,
            "folder": path.mkdir,
            "link": lambda: (write(tmp_path / "real", "three"), path.symlink_to(tmp_path / "real")),
        }[state]()
        await until(lambda: count == 2)
        await asyncio.sleep(0.1)
    assert count == 2


def test_reload_does_not_wait_for_a_look(path: Path) -> None:
    words = Watched(SETTING, words_of(path))
    write(path, "three")
    words.reload()
    assert words.value == ["three"]


async def test_a_file_that_is_half_written_is_not_taken(path: Path) -> None:
    words = Watched(SETTING, words_of(path), every_s=0.01, settle_s=0.2)
    seen = []
    async with words.watching():
        with path.open("w") as file:
            for number in range(10):
                file.write(f"w{number} ")
                file.flush()
                await asyncio.sleep(0.03)
                seen.append(words.value)
        await until(lambda: len(words.value) == 10)
    assert seen == [["one", "two"]] * 10


async def test_a_file_that_never_keeps_still_is_taken_all_the_same(path: Path) -> None:
    words = Watched(SETTING, words_of(path), every_s=0.01, settle_s=0.01)

    async def scribble() -> None:
        with path.open("a") as file:
            while True:
                file.write(" more")
                file.flush()
                await asyncio.sleep(0)

    async with words.watching():
        task = asyncio.create_task(scribble())
        await until(lambda: "more" in words.value)
        task.cancel()


async def test_a_file_that_the_first_file_names_is_watched_too(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    write(secret, "sk-1\n")
    words = watched(path)
    async with words.watching():
        write(path, f"key {secret}")
        await until(lambda: words.value == ["key", "sk-1"])
        rename_over(secret, "sk-2\n")
        await until(lambda: words.value == ["key", "sk-2"])
        write(path, "none")
        await until(lambda: words.value == ["none"])


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


async def test_no_task_is_left_when_watching_ends(path: Path) -> None:
    before = asyncio.all_tasks()
    async with watched(path).watching():
        assert len(asyncio.all_tasks()) == len(before) + 1
    assert asyncio.all_tasks() == before


def test_a_bad_or_missing_file_at_the_start_is_refused_in_words(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"cannot read {tmp_path}/none: No such file or directory"):
        watched(tmp_path / "none")
    write(path, "bad")
    with pytest.raises(ValueError, match=f"{path}: a bad word"):
        watched(path)


@pytest.mark.timeout(10)
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
