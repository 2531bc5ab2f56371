"""No service can be called by a page of another site, and each says so in the words of the product it imitates."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

import embedding_service.main
import llm_service.main
import rag_app.main
import vector_db.main
from embedding_service.core.settings import EmbeddingSettings
from llm_service.core.settings import LlmSettings
from rag_app.core.settings import RagSettings
from vector_db.core.settings import VectorDbSettings

# (app for a folder and an address, a route that changes something or costs something, the words of its refusal)
Build = Callable[[Path, str], FastAPI]
SERVICES: dict[str, tuple[Build, str, set[str]]] = {
    "rag_app": (
        lambda folder, host: rag_app.main.create_app(RagSettings(_env_file=None, rag_host=host, data_dir=folder)),
        "/v1/repositories",
        {"error"},
    ),
    "embedding_service": (
        lambda folder, host: embedding_service.main.create_app(
            EmbeddingSettings(_env_file=None, embedding_host=host, data_dir=folder)
        ),
        "/embed",
        {"error", "error_type"},
    ),
    "llm_service": (
        lambda _, host: llm_service.main.create_app(LlmSettings(_env_file=None, llm_host=host)),
        "/v1/chat/completions",
        {"error"},
    ),
    "vector_db": (
        lambda folder, host: vector_db.main.create_app(
            VectorDbSettings(_env_file=None, qdrant_host=host, vector_db_dir=folder)
        ),
        "/collections/code/points/delete",
        {"status", "time"},
    ),
}


async def ask(app: FastAPI, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        return await http.request(method, path, headers=headers)


@pytest.mark.parametrize("name", SERVICES)
async def test_a_page_of_another_site_is_refused(name: str, tmp_path: Path) -> None:
    build, path, words = SERVICES[name]
    answer = await ask(build(tmp_path, "127.0.0.1"), "POST", path, {"origin": "https://attacker.example"})
    assert (answer.status_code, set(answer.json())) == (403, words)
    assert "ALLOWED_HOSTS" in answer.text


@pytest.mark.parametrize("name", SERVICES)
async def test_a_foreign_name_is_refused_on_loopback_and_taken_elsewhere(name: str, tmp_path: Path) -> None:
    build, _, _ = SERVICES[name]
    rebound = {"host": "rebound.attacker.example"}
    assert (await ask(build(tmp_path, "127.0.0.1"), "GET", "/healthz", rebound)).status_code == 403
    assert (await ask(build(tmp_path, "0.0.0.0"), "GET", "/healthz", {"host": name})).status_code == 200
