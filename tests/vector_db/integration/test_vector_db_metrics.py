"""What /metrics of vector_db says of its store."""

from pathlib import Path

from fastapi.testclient import TestClient

from vector_db.core.settings import VectorDbSettings
from vector_db.engine.metrics import MAX_COLLECTION_LABELS
from vector_db.main import create_app


def told(client: TestClient) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_collections_points_searches_queues_and_the_disk_are_told(tmp_path: Path) -> None:
    settings = VectorDbSettings(_env_file=None, vector_db_dir=tmp_path / "vectors")
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        assert told(client)["vector_db_collections"] == 0
        client.put("/collections/code", json={"vectors": {"size": 2, "distance": "Cosine"}})
        client.put("/collections/code/points", json={"points": [{"id": 1, "vector": [1.0, 0.0]}]})
        assert client.post("/collections/code/points/query", json={"query": [1.0, 0.0]}).status_code == 200
        now = told(client)
        assert (now["vector_db_collections"], now['vector_db_points{collection="code"}']) == (1, 1)
        assert now["vector_db_search_duration_seconds_count"] == 1
        assert now["vector_db_writes_waiting"] == now["vector_db_reads"] == 0
        assert 0 < now['service_disk_free_bytes{volume="vectors"}'] < now['service_disk_size_bytes{volume="vectors"}']
        assert (now["service_ready"], now['service_check_ok{check="store"}']) == (1, 1)
        client.delete("/collections/code")
        assert 'vector_db_points{collection="code"}' not in told(client)


def test_callers_cannot_make_any_number_of_labels(tmp_path: Path) -> None:
    settings = VectorDbSettings(_env_file=None, vector_db_dir=tmp_path / "vectors")
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        for number in range(MAX_COLLECTION_LABELS + 2):
            client.put(f"/collections/c{number:02}", json={"vectors": {"size": 2, "distance": "Cosine"}})
        labels = [name for name in told(client) if name.startswith("vector_db_points{")]
        assert len(labels) == MAX_COLLECTION_LABELS + 1
        assert 'vector_db_points{collection="other"}' in labels
