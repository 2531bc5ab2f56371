"""What a citation is checked against: a file's lines from the index, even if the working tree has moved on."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from rag_app.core.models import Chunk, Scope, Span
from rag_app.db.chunks import ChunkStore
from rag_app.db.manifest import Manifest
from rag_app.db.records import INDEXED, FileRow, RefState
from service_kit.errors import NotFound, ValidationFailed


@dataclass(frozen=True, slots=True)
class Source:
    """Lines of an indexed file. `content`: joined by newlines, none at the end; `sha256`: of its UTF-8."""

    repository: str
    ref: str
    commit: str
    language: str
    span: Span
    total_lines: int
    content: str
    sha256: str


class SourceService:
    """Reads files back from the index."""

    def __init__(self, store: ChunkStore, manifest: Manifest):
        """store, manifest: what the indexer wrote."""
        self._store = store
        self._manifest = manifest

    async def read(
        self,
        repository: str,
        path: str,
        scope: Scope,
        *,
        ref: str | None = None,
        start_line: int | None = None,
        end_line: int | None = None,
    ) -> Source:
        """Lines start_line to end_line, both included, of a file; to its ends where they are not given.

        NotFound: the repository, ref or path is unknown, or not yours. ValidationFailed: lines that it does not have.
        """
        state, row = await asyncio.to_thread(self._look_up, repository, path, scope, ref)
        chunks = await self._store.of_blob(repository, state.layer, path, row.blob, scope)
        lines = lines_of(chunks)
        first, last = _bounds(start_line, end_line, len(lines), path)
        content = "\n".join(lines[first - 1 : last])
        return Source(
            repository=repository,
            ref=state.ref,
            commit=state.commit,
            language=row.language,
            span=Span(path, first, last),
            total_lines=len(lines),
            content=content,
            sha256=hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest(),
        )

    def _look_up(self, repository: str, path: str, scope: Scope, ref: str | None) -> tuple[RefState, FileRow]:
        self._manifest.repository(repository, scope)
        states = self._manifest.refs(frozenset({repository}), ref)
        if not states:
            raise NotFound(f"repository {repository!r} has no indexed ref {ref or '(default)'!r}")
        row = self._manifest.files.one(repository, states[0].layer, path)
        if row is None:
            raise NotFound(f"no file {path[:200]!r} in repository {repository!r} at {states[0].ref!r}")
        if row.outcome != INDEXED:
            raise NotFound(f"{path[:200]!r} is not indexed ({row.outcome}), so its lines are not kept")
        return states[0], row


def lines_of(chunks: Sequence[Chunk]) -> list[str]:
    """The lines of a file, put together from its chunks; where chunks overlap they agree."""
    lines: dict[int, str] = {}
    for chunk in chunks:
        lines.update(enumerate(chunk.text.split("\n"), start=chunk.span.start_line))
    return [lines.get(number, "") for number in range(1, max(lines, default=0) + 1)]


def _bounds(start_line: int | None, end_line: int | None, total: int, path: str) -> tuple[int, int]:
    first = 1 if start_line is None else start_line
    last = total if end_line is None else end_line
    if not 1 <= first <= last <= total:
        asked = f"lines {first} to {last}"
        raise ValidationFailed(
            f"{asked}: {path[:200]!r} has lines 1 to {total}, and start_line must not be after end_line"
        )
    return first, last
