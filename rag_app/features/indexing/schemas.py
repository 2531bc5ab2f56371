"""Wire models of repositories and jobs, in the shapes of the API's documentation."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from rag_app.db.records import Job, Repository, Source
from rag_app.features.indexing.sources import without_credentials

Glob = Annotated[str, Field(min_length=1, max_length=500)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PathSource(_Wire):
    """A folder of the machine that the server runs on."""

    type: Literal["path"]
    path: str = Field(min_length=1, max_length=4_096)


class GitSource(_Wire):
    """A git repository to be cloned, by https or ssh."""

    type: Literal["git"]
    url: str = Field(min_length=1, max_length=2_000)


class RegisterBody(_Wire):
    """POST /v1/repositories. include, exclude: patterns in the syntax of .gitignore."""

    source: Annotated[PathSource | GitSource, Field(discriminator="type")]
    name: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="The folder's where left out. With a dot at its head it is hidden: searched only where named.",
    )
    ref: str | None = Field(None, min_length=1, max_length=250)
    include: list[Glob] = Field(default=[], max_length=100)
    exclude: list[Glob] = Field(default=[], max_length=100)

    def to_source(self) -> Source:
        """The source as the service takes it."""
        location = self.source.path if isinstance(self.source, PathSource) else self.source.url
        return Source(self.source.type, location)


class RepositoryView(_Wire):
    """A repository."""

    id: str
    name: str
    source: dict[str, str]
    ref: str
    commit: str
    state: Literal["new", "indexing", "ready", "failed"]
    files: int
    chunks: int
    skipped: dict[str, int]
    include: list[str]
    exclude: list[str]
    created_at: str
    indexed_at: str | None

    @classmethod
    def of(cls, repository: Repository) -> Self:
        """From the manifest's."""
        source = repository.source
        where = {"path": source.location} if source.type == "path" else {"url": without_credentials(source.location)}
        return cls(
            id=repository.id,
            name=repository.name,
            source={"type": source.type, **where},
            ref=repository.ref or repository.wanted_ref or "",
            commit=repository.commit,
            state=repository.state,
            files=repository.files,
            chunks=repository.chunks,
            skipped=dict(repository.skipped),
            include=list(repository.include),
            exclude=list(repository.exclude),
            created_at=_time(repository.created_at) or "",
            indexed_at=_time(repository.indexed_at),
        )


class ProgressView(_Wire):
    """How far a job is."""

    files_done: int
    files_total: int
    chunks_done: int
    chunks_embedded: int
    chunks_reused: int
    elapsed_ms: int


class JobView(_Wire):
    """A job."""

    id: str
    repository: str
    kind: Literal["index"]
    state: Literal["queued", "running", "succeeded", "failed"]
    progress: ProgressView
    error: dict[str, Any] | None
    created_at: str
    finished_at: str | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """From the manifest's."""
        progress = job.progress
        return cls(
            id=job.id,
            repository=job.repository,
            kind="index",
            state=job.state,
            progress=ProgressView(
                files_done=progress.files_done,
                files_total=progress.files_total,
                chunks_done=progress.chunks_done,
                chunks_embedded=progress.chunks_embedded,
                chunks_reused=progress.chunks_reused,
                elapsed_ms=progress.elapsed_ms,
            ),
            error=None if job.error is None else {"code": job.error.code, "message": job.error.message},
            created_at=_time(job.created_at) or "",
            finished_at=_time(job.finished_at),
        )


class Accepted(_Wire):
    """202: what was registered and the job that indexes it."""

    repository: RepositoryView
    job: JobView


class RepositoryList(_Wire):
    """GET /v1/repositories."""

    repositories: list[RepositoryView]


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
