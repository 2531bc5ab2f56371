"""From a number of chunks to memory, disk, nodes and hours. Values in, values out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.capacity.parts import DIM, Measured, graph, payload_index, postings, vector

GIB = 1 << 30

# A node of a usual size; a quarter of its memory stays for requests, the kernel's cache and what was not thought of.
NODE_GIB, NODE_CORES, NODE_SHARE = 64, 16, 0.75
# Qdrant keeps twice the room while it optimises a segment.
DISK_SPARE = 2.0


@dataclass(frozen=True, slots=True)
class Layout:
    """How an index of up to `chunks` lies. quantization, on_disk, m, copies: as the settings of .env.example say."""

    chunks: int
    store: str
    quantization: str | None = None
    is_on_disk: bool = False
    m: int = 16
    copies: int = 1


LAYOUTS: tuple[Layout, ...] = (
    Layout(100_000, "vector_db", m=0),
    Layout(1_000_000, "Qdrant"),
    Layout(10_000_000, "Qdrant", "int8", is_on_disk=True, copies=2),
    Layout(100_000_000, "Qdrant", "int8", is_on_disk=True, copies=2),
    Layout(1_000_000_000, "Qdrant", "binary", is_on_disk=True, copies=2),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a layout takes. GiB over all nodes and copies, hours of CPU over all processes."""

    layout: Layout
    memory_gib: float
    disk_gib: float
    nodes: int
    shards: int
    manifest_gib: float
    model_hours: float
    indexer_hours: float


def memory(part: Measured, layout: Layout, dim: int = DIM) -> float:
    """Bytes of one copy of one chunk that stay in memory: vectors (the searched ones), graph, postings, filters."""
    whole = 0.0 if layout.is_on_disk else vector(dim)
    searched = vector(dim, layout.quantization) if layout.quantization else 0.0
    return whole + searched + graph(layout.m) + postings(part.nonzeros) + payload_index(part.keyword_values)


def disk(part: Measured, layout: Layout, dim: int = DIM) -> float:
    """Bytes of one copy of one chunk on disk: all that is in memory, whole vectors and payloads."""
    kept = vector(dim) if layout.is_on_disk else 0.0
    return memory(part, layout, dim) + kept + part.payload


def plan(part: Measured, layout: Layout) -> Plan:
    """What this many chunks take. vector_db is one process that maps its files, whose size was measured."""
    of_memory = layout.chunks * layout.copies * memory(part, layout)
    if layout.store == "vector_db":
        of_memory = of_disk = layout.chunks * part.store
        nodes = shards = 1
    else:
        of_disk = layout.chunks * layout.copies * disk(part, layout) * DISK_SPARE
        nodes = max(layout.copies, math.ceil(of_memory / (NODE_GIB * GIB * NODE_SHARE)))
        # Two a node, so that nodes can be added to half as many again before one shard has to be cut in two.
        shards = 2 * nodes
    hours = layout.chunks / 3_600_000
    return Plan(
        layout=layout,
        memory_gib=of_memory / GIB,
        disk_gib=of_disk / GIB,
        nodes=nodes,
        shards=shards,
        manifest_gib=layout.chunks * part.manifest / GIB,
        model_hours=hours * part.model_int8_ms,
        indexer_hours=hours * part.indexer_ms,
    )


def plans(part: Measured, layouts: Sequence[Layout] = LAYOUTS) -> list[Plan]:
    """One plan a layout."""
    return [plan(part, layout) for layout in layouts]
