"""The routes of generation as an app of their own, over hits that a test lays down."""

import json
from typing import Any

from fastapi import FastAPI

from rag_app.clients.llm import create_llm
from rag_app.core.settings import RagSettings
from rag_app.db.manifest import Manifest
from rag_app.features.generation.router import generation_router
from rag_app.features.generation.service import AnswerService
from service_kit.app import create_service
from service_kit.metrics import HttpMetrics
from tests.support.canned_search import CannedSearch


def parsed(body: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block.split("\n") for block in body.split("\n\n") if block.startswith("event:")]
    return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for event, data in blocks]


def serve_generation(search: CannedSearch, manifest: Manifest, llm_url: str, **settings: Any) -> FastAPI:
    chosen = RagSettings(_env_file=None, llm_url=llm_url, **settings)
    service = AnswerService(search, manifest, create_llm(chosen), chosen)  # type: ignore[arg-type]

    async def nothing_to_check() -> list[Any]:
        return []

    app = create_service("rag", readiness=nothing_to_check, metrics=HttpMetrics("rag"), max_body_bytes=1_000_000)
    app.include_router(generation_router(service, lambda: manifest.all_ids() | {"repo"}, chosen))
    return app
