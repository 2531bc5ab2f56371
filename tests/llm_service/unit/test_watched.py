"""Files that change under a running service, in the ways in which people and machines change them."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_service.core.watched import Watched
from service_kit.secrets import ReadFile
from tests.support.watching import SETTING, delete, until, watched, words_of, write


def rename_over(path: Path, text: str) -> None:
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


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
    for _ in range(5):  # where the machine stands still the file does, too: not five times
        write(path, "one two")
        words = Watched(SETTING, words_of(path), every_s=0.01, settle_s=0.2)
        seen = []
        async with words.watching():
            with path.open("w") as file:
                for number in range(10):
                    file.write(f"w{number} ")
                    file.flush()
                    await asyncio.sleep(0.03)
                    seen.append(words.value)
            await until(lambda: len(words.value) == 10)  # noqa: B023
        if seen == [["one", "two"]] * 10:
            break
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


async def test_no_task_is_left_when_watching_ends(path: Path) -> None:
    before = asyncio.all_tasks()
    async with watched(path).watching():
        assert len(asyncio.all_tasks()) == len(before) + 1
    assert asyncio.all_tasks() == before
