"""The rows of the manifest as plain values: repositories, refs, files, jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

RepositoryState = Literal["new", "indexing", "ready", "failed"]
JobState = Literal["queued", "running", "succeeded", "failed"]

# The outcome of a file that is in the index; every other outcome is the reason why it was left out.
INDEXED = "indexed"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a repository's files come from. `type`: "path" or "git"; `location`: an absolute folder or a URL."""

    type: str
    location: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A registered repository, with what the manifest knows of it.

    ref, commit: of its default ref, "" where not known (yet).
    state: computed from its jobs. indexed_at: Unix seconds of the last complete run, None before the first.
    files, chunks: in the index now. skipped: left-out entries by reason.
    """

    id: str
    name: str
    source: Source
    wanted_ref: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    ref: str
    commit: str
    state: RepositoryState
    created_at: float
    indexed_at: float | None
    files: int
    chunks: int
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefState:
    """A ref of a repository and the layer that holds its files. `state`: of the repository."""

    repository: str
    ref: str
    layer: str
    commit: str
    state: str


@dataclass(frozen=True, slots=True)
class FileRow:
    """What became of one path in one layer.

    blob: SHA-256 of its bytes, "" where it was not read. outcome: INDEXED or the reason why it was left out.
    signature: of how it was indexed and of its stat, "" where it must be read again. chunks: its points.
    """

    path: str
    blob: str
    outcome: str
    language: str = ""
    chunks: int = 0
    signature: str = ""


@dataclass(frozen=True, slots=True)
class FileUpdate:
    """A file row to be written, with its terms: term id -> number of its chunks that have the term."""

    row: FileRow
    terms: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. chunks_done = chunks_embedded + chunks_reused (vectors found in the cache)."""

    files_done: int = 0
    files_total: int = 0
    chunks_done: int = 0
    chunks_embedded: int = 0
    chunks_reused: int = 0
    elapsed_ms: int = 0


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: the word of the error table and a message for the caller."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """One run over a repository. Times are Unix seconds."""

    id: str
    repository: str
    kind: str
    state: JobState
    progress: Progress
    error: JobError | None
    created_at: float
    finished_at: float | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will change."""
        return self.state in ("succeeded", "failed")


@dataclass(frozen=True, slots=True)
class KeptRanking:
    """Weights that searches of one repository are ranked with: all, or of an earlier program those off its defaults.

    evidence: what they were kept for, as whoever kept them tells it. kept_at: Unix seconds.
    """

    weights: Mapping[str, float]
    evidence: Mapping[str, Any]
    kept_at: float
