"""What ranking needs of chunks that were found before, by id, so that an answer of Qdrant need not say it again."""

import sys
from collections.abc import Collection, Iterable
from dataclasses import replace

from rag_app.core.models import Chunk, Span

# About 0.5 kB each. Questions about one index find the same chunks again: of 26,000, 5,000 questions find nearly all.
MOST_CHUNKS = 65_536

# Where fewer than this share of the candidates is known, they come with their payloads at once: to fetch 100 payloads
# costs Edge 0.8 CPU-ms and a round trip as much again, to send 200 unasked 1.5 CPU-ms there and as much to read here.
WORTH_ASKING = 0.5

# How much of the share the latest answer decides.
_NEWS = 0.1


class LightChunks:
    """Chunks without their texts. Right for ever: a point's id is derived of its content, and its payload of the same.

    The oldest go first.
    """

    def __init__(self, most: int = MOST_CHUNKS):
        """most: chunks that are kept."""
        self._most = most
        self._chunks: dict[str, Chunk] = {}
        self._share = 0.0

    @property
    def knows_most(self) -> bool:
        """Whether of late most candidates were known."""
        return self._share >= WORTH_ASKING

    def known(self, ids: Collection[str]) -> dict[str, Chunk]:
        """Those of `ids` that are known, by id; how many there are is remembered for knows_most.

        An answer is put together of this: by the time that the others are here, newer ones may have taken their places.
        """
        found = {i: chunk for i in ids if (chunk := self._chunks.get(i)) is not None}
        if ids:
            self._share += _NEWS * (len(found) / len(ids) - self._share)
        return found

    def get(self, identifier: str) -> Chunk | None:
        """The chunk without its text, or None."""
        return self._chunks.get(identifier)

    def keep(self, chunks: Iterable[Chunk]) -> None:
        """Remember chunks, the last ones where there are too many; their texts are left out."""
        for chunk in chunks:
            if chunk.id not in self._chunks:
                self._chunks[chunk.id] = _shared(chunk)
        while len(self._chunks) > self._most:
            del self._chunks[next(iter(self._chunks))]

    def forget(self, ids: Iterable[str]) -> None:
        """They are being written anew."""
        for identifier in ids:
            self._chunks.pop(identifier, None)


def _shared(chunk: Chunk) -> Chunk:
    """The chunk without its text, its words held once for all chunks of a file: a third of the memory."""
    span = chunk.span
    return replace(
        chunk,
        repository=sys.intern(chunk.repository),
        layer=sys.intern(chunk.layer),
        blob=sys.intern(chunk.blob),
        span=Span(sys.intern(span.path), span.start_line, span.end_line),
        language=sys.intern(chunk.language),
        kind=sys.intern(chunk.kind),
        text="",
    )
