"""How large a folder is, before it is indexed: a quick count that sets a reader's expectation, and no promise."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rag_app.cli.progress import duration
from rag_app.core.settings import RagSettings
from rag_app.features.indexing.walk import walk
from service_kit.errors import ServiceError

# Bytes that a chunk covers. Measured on code: 326 (zod), 335 (our own), 340 (flask), 347 (express), 361 (requests);
# on flask's prose: 526 (.md), 727 (.rst).
BYTES_PER_CHUNK = 345
BYTES_PER_CHUNK_OF_PROSE = 600
_PROSE = frozenset((".md", ".markdown", ".mdx", ".rst", ".txt", ".adoc"))

# As much as git looks at: what is not text has a NUL soon, and reading all of a tree would be half of indexing it.
_HEAD_BYTES = 8_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a folder holds: files that may be indexed, and about how many chunks they make."""

    files: int
    chunks: int

    def describe(self, chunks_per_s: float | None = None) -> str:
        """One line; with a rate measured on this machine, also the time. E.g. `1,204 files, about 6,300 chunks`."""
        line = f"{self.files:,} files, about {self.chunks:,} chunks"
        if not chunks_per_s:
            return line
        return f"{line}, about {duration(self.chunks / chunks_per_s)} at {chunks_per_s:,.0f} chunks/s measured here"


def measure(root: Path, settings: RagSettings | None = None) -> Estimate:
    """Count what the indexer would take, by its own rules; 0 where `root` cannot be listed, which the server tells."""
    chunks = [
        max(1, size // (BYTES_PER_CHUNK_OF_PROSE if Path(path).suffix.lower() in _PROSE else BYTES_PER_CHUNK))
        for path, size in _texts(root, settings or RagSettings())
    ]
    return Estimate(len(chunks), sum(chunks))


def _texts(root: Path, settings: RagSettings) -> Iterator[tuple[str, int]]:
    own_data = settings.data_dir.expanduser().resolve()
    try:
        for found in walk(root, max_file_bytes=settings.max_file_bytes, own_data=own_data):
            if found.reason is None and _is_text(root / found.path):
                yield found.path, found.size
    except ServiceError:
        return


def _is_text(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"\0" not in file.read(_HEAD_BYTES)
    except OSError:
        return False
