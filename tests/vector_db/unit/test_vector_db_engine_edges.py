"""What foreign failures become, and what a half-done change on disk becomes."""

from pathlib import Path

import pytest

from service_kit.errors import NotFound, ValidationFailed
from vector_db.core.errors import WrongInput
from vector_db.core.names import check_name
from vector_db.engine.edge_errors import EngineFailed, edge_errors
from vector_db.engine.files import write_json
from vector_db.engine.store import Store


class PanicException(BaseException):
    """Named as pyo3's, which cannot be made from Python."""


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (Exception("Vector dimension error"), WrongInput),
        (ValueError("bad UUID"), WrongInput),
        (OverflowError("too large"), WrongInput),
        (Exception("Service runtime error: disk"), EngineFailed),
        (Exception("Service runtime error: Shard is not initialized"), NotFound),
        (NotFound("kept as it is"), NotFound),
        (PanicException("index out of bounds"), EngineFailed),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_edge_raises_becomes_a_word_of_ours(raised: BaseException, expected: type[BaseException]) -> None:
    with pytest.raises(expected), edge_errors():
        raise raised


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "..", ".", "a\0", "x" * 256, "a?"])
def test_names_that_qdrant_refuses_are_refused(name: str) -> None:
    with pytest.raises(ValidationFailed):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "x" * 255, "Mein Käfer", "code-v1.2_3", "..."])
def test_names_that_qdrant_takes_are_taken(name: str) -> None:
    assert check_name(name) == name


def test_a_file_is_replaced_whole_even_where_a_draft_was_left(tmp_path: Path) -> None:
    target = tmp_path / "aliases.json"
    (tmp_path / "aliases.json.tmp").write_bytes(b'{"half')
    write_json(target, {"a": "b"})
    assert target.read_text().split() == ["{", '"a":', '"b"', "}"]
    assert [path.name for path in tmp_path.iterdir()] == ["aliases.json"]


def test_half_made_and_half_deleted_collections_and_dangling_aliases_are_swept(tmp_path: Path) -> None:
    for name in ("unfinished-1", "deleted-2"):
        (tmp_path / "collections" / name / "shard").mkdir(parents=True)
    write_json(tmp_path / "aliases.json", {"latest": "gone"})
    store = Store(tmp_path)
    store.open()
    assert (store.names, store.aliases) == ([], {})
    assert list((tmp_path / "collections").iterdir()) == []
    store.close()
