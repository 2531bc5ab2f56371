"""A disk that is nearly full: what grows is refused in words, before a memory map can end the process."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.live import live
from tests.vector_db.conftest import settings
from vector_db.engine.database import Database
from vector_db.engine.files import LEAST_FREE_BYTES, free_bytes
from vector_db.main import create_app

POINT = {"id": 1, "vector": {"dense": [1.0, 0.0]}}


class Disk:
    def __init__(self) -> None:
        self.free = LEAST_FREE_BYTES

    def of(self, folder: Path) -> int:
        return self.free


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def http(tmp_path: Path, disk: Disk) -> Iterator[httpx.Client]:
    app = create_app(settings(tmp_path), database=Database(tmp_path, free=disk.of))
    with live(app) as url, httpx.Client(base_url=url) as client:
        body = {"vectors": {"dense": {"size": 2, "distance": "Cosine"}}}
        client.put("/collections/code", json=body).raise_for_status()
        client.put("/collections/code/points", json={"points": [POINT]}).raise_for_status()
        disk.free -= 1
        yield client


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/collections/code/points", {"points": [{**POINT, "id": 2}]}),
        ("/collections/more", {"vectors": {"dense": {"size": 2, "distance": "Cosine"}}}),
        ("/collections/code/index", {"field_name": "path", "field_schema": "keyword"}),
    ],
)
def test_what_grows_is_unavailable_and_names_the_room_and_the_setting(
    http: httpx.Client, path: str, body: dict[str, object]
) -> None:
    refused = http.put(path, json=body)
    assert refused.status_code == 503
    assert "retry-after" in refused.headers
    assert "255 MB left" in refused.text
    assert "VECTOR_DB_DIR" in refused.text


def test_what_was_there_is_still_found_and_can_be_deleted(http: httpx.Client, disk: Disk) -> None:
    http.put("/collections/code/points", json={"points": [{**POINT, "id": 2}]})
    found = http.post("/collections/code/points/query", json={"query": [1.0, 0.0], "using": "dense"})
    assert [point["id"] for point in found.json()["result"]["points"]] == [1]
    http.post("/collections/code/points/delete", json={"points": [1]}).raise_for_status()
    disk.free = LEAST_FREE_BYTES
    http.put("/collections/code/points", json={"points": [{**POINT, "id": 2}]}).raise_for_status()
    assert http.post("/collections/code/points/count", json={"exact": True}).json()["result"]["count"] == 1


def test_room_is_asked_of_the_volume_that_holds_the_folder(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
