"""Asks the index: both arms in one request, without what is no longer indexed, and deeper where too much was."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from rag_app.core.models import Chunk, Scope, SparseVector
from rag_app.db.chunks import Arm, ChunkStore, Found
from rag_app.db.filters import Selection
from rag_app.db.manifest import Manifest
from rag_app.db.records import INDEXED, RefState
from rag_app.features.search.query import PathFilter, named_scope, path_filter
from rag_app.features.search.signals import holds_a_line, is_path_of

# Candidates of each arm. Tests and docs, which then stand back, fill half of it: 100 lost .017 NDCG@10 on fix commits
# of four repositories, 300 gained nothing more. A long list of hits needs more.
ARM_DEPTH = 200
DEPTH_PER_HIT = 4

# The deepest an arm goes where filters that the index cannot answer leave too few.
MAX_DEPTH = 6_400

# Definitions of one name that are looked at; a repository has a few hundred __init__s.
MAX_NAMED = 512

# What the names of repositories begin with that are searched only where they are named.
HIDDEN = "."

# Files whose lines are looked up; a folder may be named with a line by mistake.
MAX_PLACES = 8


class CandidateSource:
    """Candidates that the manifest names, from the arms that a search has."""

    def __init__(self, store: ChunkStore, manifest: Manifest):
        """Does no I/O."""
        self._store = store
        self._manifest = manifest

    async def narrowed(self, scope: Scope, repositories: Sequence[str], *, is_scoped: bool = False) -> Scope:
        """Those of the scope that are named, by name (any case) or id. NotFound for another.

        Where none is named: all, without those whose names begin with a dot, as a shell hides files; with them where
        is_scoped, for then the caller chose the scope.
        """
        if not repositories and is_scoped:
            return scope
        names = await asyncio.to_thread(self._manifest.names, scope)
        if repositories:
            return named_scope(scope, names, repositories)
        return scope - {identifier for name, identifier in names.items() if name.startswith(HIDDEN)}

    async def states(self, scope: Scope, ref: str | None) -> tuple[list[RefState], bool]:
        """The ref of each repository in scope that is searched, and whether these are all that there are."""

        def found() -> tuple[list[RefState], bool]:
            states = self._manifest.refs(scope, ref)
            return states, {state.repository for state in states} == self._manifest.all_ids()

        return await asyncio.to_thread(found)

    async def matching_paths(self, states: Sequence[RefState], paths: PathFilter) -> list[str]:
        """The indexed paths that the globs take, of two filters those that both take; empty without globs."""
        if not paths.has_globs:
            return []
        globs = replace(paths, plain=()) if paths.also is None else paths

        def listed() -> list[str]:
            files = (self._manifest.files.of(state.repository).values() for state in states)
            return sorted(
                {row.path for rows in files for row in rows if row.outcome == INDEXED and globs.matches(row.path)}
            )

        return await asyncio.to_thread(listed)

    async def arms(
        self,
        vectors: Sequence[tuple[float, ...] | SparseVector],
        selection: Selection,
        paths: PathFilter,
        limit: int,
    ) -> list[list[Found]]:
        """The candidates of each vector's arm, best first: enough for `limit` hits, or all that there are."""
        depth = max(ARM_DEPTH, DEPTH_PER_HIT * limit)
        while True:
            found = await self._store.query([Arm(vector, depth) for vector in vectors], selection)
            arms = [without_cut_ties(arm, depth, limit) for arm in found]
            kept = await self._kept([one.chunk for arm in arms for one in arm], paths)
            left = [[one for one in arm if one.chunk.id in kept] for arm in arms]
            # An arm that gave less than it was asked for has no more to give.
            has_more = any(
                len(arm) == depth and len(remaining) < limit for arm, remaining in zip(found, left, strict=True)
            )
            if not has_more or depth >= MAX_DEPTH:
                return left
            depth = min(depth * 4, MAX_DEPTH)

    async def named(self, selection: Selection, paths: PathFilter) -> list[Chunk]:
        """Chunks whose names match the selection's."""
        chunks = await self._store.named(selection, MAX_NAMED)
        kept = await self._kept(chunks, paths)
        return [chunk for chunk in chunks if chunk.id in kept]

    async def at_lines(
        self, states: Sequence[RefState], lines: Sequence[tuple[str, int]], selection: Selection
    ) -> list[Chunk]:
        """The chunks that hold one of these (path, line), of the first MAX_PLACES files that the paths are of."""

        def listed() -> list[str]:
            rows = (row for state in states for row in self._manifest.files.of(state.repository).values())
            named = {path for path, _ in lines}
            return sorted(
                row.path for row in rows if row.outcome == INDEXED and any(is_path_of(path, row.path) for path in named)
            )

        if not (files := (await asyncio.to_thread(listed))[:MAX_PLACES]):
            return []
        chunks = await self.named(replace(selection, paths=tuple(files), folders=()), path_filter(()))
        return [chunk for chunk in chunks if holds_a_line(chunk, lines)]

    async def _kept(self, chunks: Sequence[Chunk], paths: PathFilter) -> set[str]:
        """Ids of those that are indexed now and that the path filter takes."""
        keys = {chunk.id: (chunk.repository, chunk.layer, chunk.span.path, chunk.blob) for chunk in chunks}

        def kept() -> set[str]:
            current = self._manifest.current(set(keys.values()))
            takes = {path: paths.matches(path) for path in {key[2] for key in current}}
            return {identifier for identifier, key in keys.items() if key in current and takes[key[2]]}

        return await asyncio.to_thread(kept)


def without_cut_ties(arm: Sequence[Found], depth: int, limit: int) -> Sequence[Found]:
    """An arm, best first, without the last of equal score where it was cut at `depth`; whole where fewer than `limit`
    would be left.

    Which of equal ones come before a cut is the store's affair, and another one's after a restore.
    """
    if len(arm) < depth:
        return arm
    ahead = [one for one in arm if one.score > arm[-1].score]
    return ahead if len(ahead) >= limit else arm
