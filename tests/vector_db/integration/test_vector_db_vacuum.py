"""Deleted points give their space back when the folder is opened again, and nothing else changes."""

import shutil
from pathlib import Path

import pytest
from qdrant_client.http import models

from vector_db.engine import store as store_module
from vector_db.engine.collection import Collection
from vector_db.engine.store import Store

POINTS = 3000
KEPT = range(0, POINTS, 5)


def points(rows: range) -> models.PointsList:
    return models.PointsList(
        points=[
            models.PointStruct(
                id=row,
                vector={"dense": [1.0, row], "sparse": models.SparseVector(indices=[7], values=[1.0 + row])},
                payload={"row": row, "text": f"{row} " * 200},
            )
            for row in rows
        ]
    )


def opened(folder: Path) -> Store:
    store = Store(folder)
    store.open()
    return store


def size(folder: Path) -> int:
    """Bytes of disk; Edge's files are longer than what they hold."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("segments/**/*") if file.is_file())


def found(collection: Collection) -> list[list[tuple[int, float, int]]]:
    requests = [
        models.QueryRequest(query=[0.2, 1.0], using="dense", limit=50, with_payload=True),
        models.QueryRequest(
            query=models.SparseVector(indices=[7], values=[1.0]), using="sparse", limit=50, with_payload=True
        ),
    ]
    hits = collection.query(requests)
    return [[(hit["id"], round(hit["score"], 5), hit["payload"]["row"]) for hit in answer] for answer in hits]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store whose collection `code`, also called `alias`, lost four of five points."""
    store = opened(tmp_path)
    request = models.CreateCollection(
        vectors={"dense": models.VectorParams(size=2, distance=models.Distance.EUCLID)},
        sparse_vectors={"sparse": models.SparseVectorParams()},
    )
    store.create("code", request)
    alias = models.CreateAlias(collection_name="code", alias_name="alias")
    store.change_aliases(models.ChangeAliasesOperation(actions=[models.CreateAliasOperation(create_alias=alias)]))
    code = store.resolve("code")
    code.create_index("row", models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER))()
    code.upsert(points(range(POINTS)))()
    code.delete_points(models.PointIdsList(points=[row for row in range(POINTS) if row % 5]))()
    code.flush()
    store.close()
    return tmp_path


def only_collection(folder: Path) -> Path:
    [found] = (folder / "collections").iterdir()
    return found


def test_the_space_comes_back_and_results_stay(folder: Path) -> None:
    before_size, old = size(folder), Collection.load(only_collection(folder))
    before = found(old)
    old.close()
    store = opened(folder)
    code = store.resolve("alias")
    assert found(code) == before
    assert code.count(models.CountRequest()) == code.figures().points == len(KEPT)
    assert list(code.indexes) == ["row"]
    assert size(folder) < before_size / 2
    code.upsert(points(range(POINTS, POINTS + 5)))()
    code.flush()
    store.close()
    store = opened(folder)
    assert store.resolve("code").count(models.CountRequest()) == len(KEPT) + 5
    store.close()


def test_a_collection_with_few_deleted_points_is_left_alone(folder: Path) -> None:
    opened(folder).close()
    vacuumed = only_collection(folder)
    store = opened(folder)
    store.resolve("code").delete_points(models.PointIdsList(points=list(KEPT[:100])))()
    store.resolve("code").flush()
    store.close()
    opened(folder).close()
    assert only_collection(folder) == vacuumed


def test_a_kill_between_the_renames_leaves_two_whole_ones_of_which_one_stays(folder: Path) -> None:
    old = only_collection(folder)
    shutil.copytree(old, old.with_name("0" * 32))
    store = opened(folder)
    assert store.names == ["code"]
    assert store.resolve("code").count(models.CountRequest()) == len(KEPT)
    store.close()
    only_collection(folder)


def test_a_vacuum_that_fails_leaves_the_collection_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.shutil, "copytree", full)
    old = only_collection(folder)
    store = opened(folder)
    assert store.resolve("code").count(models.CountRequest()) == len(KEPT)
    store.close()
    assert only_collection(folder) == old
