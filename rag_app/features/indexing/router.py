"""The HTTP side of repositories and jobs."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import APIRouter
from sse_starlette import EventSourceResponse, ServerSentEvent

from rag_app.core.models import Scope
from rag_app.db.records import Job, Repository
from rag_app.features.indexing.schemas import Accepted, JobView, RegisterBody, RepositoryList, RepositoryView
from rag_app.features.indexing.service import IndexingService


def indexing_router(service: IndexingService, scope: Callable[[], Scope]) -> APIRouter:
    """The routes. scope: the repositories that today's caller may see."""
    router = APIRouter(prefix="/v1", tags=["repositories"])

    @router.post("/repositories", status_code=202, summary="Index a folder or a git repository")
    async def register(body: RegisterBody) -> Accepted:
        return _accepted(await service.register(body.to_source(), body.name, body.ref, body.include, body.exclude))

    @router.get("/repositories", summary="List repositories")
    async def list_repositories() -> RepositoryList:
        return RepositoryList(repositories=[RepositoryView.of(found) for found in service.list(scope())])

    @router.get("/repositories/{identifier}", summary="One repository")
    async def get_repository(identifier: str) -> RepositoryView:
        return RepositoryView.of(service.get(identifier, scope()))

    @router.delete("/repositories/{identifier}", status_code=204, summary="Forget a repository")
    async def delete_repository(identifier: str) -> None:
        await service.delete(identifier, scope())

    @router.post("/repositories/{identifier}/sync", status_code=202, summary="Index what has changed")
    async def sync(identifier: str) -> Accepted:
        return _accepted(await service.sync(identifier, scope()))

    @router.get("/jobs/{identifier}", summary="One job")
    async def get_job(identifier: str) -> JobView:
        return JobView.of(service.job(identifier, scope()))

    @router.get("/jobs/{identifier}/events", summary="A job's progress, as server-sent events", response_model=None)
    async def job_events(identifier: str) -> EventSourceResponse:
        return EventSourceResponse(_events(service.events(identifier, scope())))

    return router


def _accepted(pair: tuple[Repository, Job]) -> Accepted:
    return Accepted(repository=RepositoryView.of(pair[0]), job=JobView.of(pair[1]))


async def _events(jobs: AsyncIterator[Job]) -> AsyncIterator[Any]:
    """`progress` for each change; at the end `done`, or `error` where the job failed. Data is the job."""
    async for job in jobs:
        kind = "progress" if not job.is_over else "error" if job.state == "failed" else "done"
        yield ServerSentEvent(event=kind, data=JobView.of(job).model_dump_json())
