"""A folder that is made once is there whole or not at all."""

from pathlib import Path

import pytest

from embedding_service.backends.base import ModelError
from embedding_service.backends.whole_folder import content_key, write_whole


def test_a_reader_never_sees_the_folder_before_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "key"

    def write(whole: Path) -> None:
        (whole / "a").write_text("1")
        assert not folder.exists()
        (whole / "b").write_text("2")

    write_whole(folder, write)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "1", "b": "2"}
    assert list(folder.parent.iterdir()) == [folder]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write(whole: Path) -> None:
        (whole / "a").write_text("1")
        raise KeyError("half way")

    with pytest.raises(KeyError):
        write_whole(tmp_path / "key", write)
    assert list(tmp_path.iterdir()) == []


def test_where_another_process_was_first_its_folder_stays(tmp_path: Path) -> None:
    folder = tmp_path / "key"

    def write(whole: Path) -> None:
        (whole / "a").write_text("second")
        folder.mkdir()
        (folder / "a").write_text("first")

    write_whole(folder, write)
    assert (folder / "a").read_text() == "first"


def test_a_place_that_cannot_be_written_says_which_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="set DATA_DIR"):
        write_whole(tmp_path / "file" / "key", lambda _: None)


def test_a_key_depends_on_every_part_and_not_on_the_order_of_names() -> None:
    assert content_key([1, {"a": 1, "b": 2}]) == content_key([1, {"b": 2, "a": 1}])
    assert content_key([1, {"a": 1}]) != content_key([2, {"a": 1}])
