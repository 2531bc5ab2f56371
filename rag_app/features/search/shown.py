"""What is shown of a chunk. The chunks of a file hold every line; a hit ends where its function ends."""

from dataclasses import replace

from rag_app.core.models import Chunk, Span


def shown(chunk: Chunk) -> Chunk:
    """The chunk without blank lines at its ends; as it is where it holds nothing else."""
    lines = chunk.text.split("\n")
    written = [number for number, line in enumerate(lines) if line.strip()]
    if not written or (written[0] == 0 and written[-1] == len(lines) - 1):
        return chunk
    first, last = written[0], written[-1]
    start_line = chunk.span.start_line
    span = Span(chunk.span.path, start_line + first, start_line + last)
    return replace(chunk, span=span, text="\n".join(lines[first : last + 1]))
