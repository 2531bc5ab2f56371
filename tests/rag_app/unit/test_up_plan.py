"""What `up` would start, from the settings alone."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from rag_app.cli.stack import Plan, StackSettings, make_plan
from rag_app.core.settings import RagSettings


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no .env
    for name in ("EMBEDDING_URL", "LLM_URL", "QDRANT_HOST", "DATA_DIR", "VECTOR_DB_DIR", "ALLOWED_ROOTS"):
        monkeypatch.delenv(name, raising=False)


def plan(repo: Path | None = None, stack: dict[str, Any] | None = None, **rag: Any) -> Plan:
    return make_plan(
        RagSettings(_env_file=None, **rag), StackSettings(_env_file=None, **(stack or {})), {"A": "b"}, repo
    )


def modules(planned: Plan) -> list[str]:
    return [service.module for service in planned.services]


def test_by_default_all_four_are_started_and_told_of_each_other(tmp_path: Path) -> None:
    planned = plan(data_dir=tmp_path, stack={"embedding_port": 9001, "llm_port": 9002}, qdrant_port=9333)
    assert modules(planned) == ["vector_db", "embedding_service", "llm_service", "rag_app"]
    assert planned.environment["A"] == "b"
    assert planned.environment["EMBEDDING_URL"] == "http://127.0.0.1:9001"
    assert planned.environment["LLM_URL"] == "http://127.0.0.1:9002/v1"
    assert planned.environment["QDRANT_PORT"] == "9333"
    assert planned.environment["VECTOR_DB_DIR"] == str(tmp_path / "vector_db")
    assert [service.setting for service in planned.services] == [
        "QDRANT_PORT", "EMBEDDING_PORT", "LLM_PORT", "RAG_PORT",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "module", "place"),
    [
        ({"embedding_url": "http://gpu.example:8080"}, "embedding_service", "http://gpu.example:8080"),
        ({"llm_url": "http://127.0.0.1:11434/v1"}, "llm_service", "http://127.0.0.1:11434/v1"),
        ({"qdrant_host": "db.example"}, "vector_db", "Qdrant at db.example"),
    ],
)
def test_a_service_that_runs_elsewhere_is_used_there_and_not_started(
    setting: dict[str, Any], module: str, place: str
) -> None:
    planned = plan(**setting)
    assert module not in modules(planned)
    assert len(planned.services) == 3
    assert planned.external == (place,)
    for name, value in setting.items():
        assert planned.environment[name.upper()] == value


def test_an_address_that_is_the_services_own_port_is_started_here() -> None:
    assert len(plan(embedding_url="http://localhost:8001/", llm_url="http://127.0.0.1:8002/v1").services) == 4


def test_an_embedder_in_process_needs_no_embedding_service() -> None:
    planned = plan(embedding_in_process=True)
    assert "embedding_service" not in modules(planned)
    assert planned.external == ("the embedding model inside rag_app",)


def test_the_folder_to_index_joins_the_allowed_roots(tmp_path: Path) -> None:
    assert plan(tmp_path).environment["ALLOWED_ROOTS"] == f"{Path.home().resolve()}:{tmp_path}"
    assert plan(tmp_path, allowed_roots="/srv").environment["ALLOWED_ROOTS"] == f"/srv:{tmp_path}"
    assert plan(allowed_roots="/srv").environment["ALLOWED_ROOTS"] == "/srv"


def test_a_folder_of_the_vector_db_that_was_set_is_kept(tmp_path: Path) -> None:
    assert plan(stack={"vector_db_dir": tmp_path}).environment["VECTOR_DB_DIR"] == str(tmp_path)


@pytest.mark.parametrize(
    ("host", "asked", "told"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000", "http://localhost:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000", "http://localhost:8000"),
        ("192.0.2.7", "http://192.0.2.7:8000", "http://192.0.2.7:8000"),
    ],
)
def test_the_server_is_asked_and_named_where_it_listens(host: str, asked: str, told: str) -> None:
    planned = plan(rag_host=host)
    assert planned.services[-1].url == asked
    assert planned.url == told


@pytest.mark.parametrize(
    ("setting", "asks"), [({}, False), ({"rag_host": "0.0.0.0"}, True), ({"rag_api_key": SecretStr("k")}, True)]
)
def test_whether_callers_need_a_key_is_known_before_anything_starts(setting: dict[str, Any], asks: bool) -> None:
    planned = plan(embedding_api_key=SecretStr("planted"), **setting)
    assert planned.asks_for_key is asks
    assert planned.embedding_key is not None
    assert "planted" not in repr(planned)
