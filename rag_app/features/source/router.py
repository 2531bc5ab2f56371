"""GET /v1/source."""

from collections.abc import Callable
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel

from rag_app.core.models import Scope
from rag_app.features.source.service import Source, SourceService


class SourceOut(BaseModel):
    """Lines of an indexed file, lines from 1, both ends included. `sha256` is of `content`, as in a citation."""

    repository: str
    ref: str
    commit: str
    path: str
    language: str
    start_line: int
    end_line: int
    total_lines: int
    content: str
    sha256: str

    @classmethod
    def of(cls, source: Source) -> Self:
        """From the domain's words."""
        return cls(
            repository=source.repository,
            ref=source.ref,
            commit=source.commit,
            path=source.span.path,
            language=source.language,
            start_line=source.span.start_line,
            end_line=source.span.end_line,
            total_lines=source.total_lines,
            content=source.content,
            sha256=source.sha256,
        )


def source_router(service: SourceService, scope: Callable[[], Scope]) -> APIRouter:
    """The route. scope: the repositories that the caller may see."""
    router = APIRouter(prefix="/v1", tags=["source"])

    @router.get("/source", summary="Lines of a file, as they were indexed")
    async def source(
        repository: Annotated[str, Query(description="Its id.")],
        path: Annotated[str, Query(description="Relative to the repository's root, with '/'.")],
        start_line: Annotated[int | None, Query(ge=1, description="From 1; the first by default.")] = None,
        end_line: Annotated[int | None, Query(ge=1, description="Included; the last by default.")] = None,
        ref: Annotated[str | None, Query(description="Branch, tag or commit; the default one by default.")] = None,
    ) -> SourceOut:
        lines = {"start_line": start_line, "end_line": end_line}
        return SourceOut.of(await service.read(repository, path, scope(), ref=ref, **lines))

    return router
