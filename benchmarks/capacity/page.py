"""The tables of docs/scaling.md, as text. The page holds them between two marks, and a test holds it to them."""

from collections.abc import Sequence

from benchmarks.capacity.parts import DIM, Measured, graph, payload_index, postings, vector
from benchmarks.capacity.plan import NODE_GIB, Plan, plans

BEGIN, END = "<!-- python -m benchmarks.capacity -->", "<!-- end -->"


def tables(part: Measured) -> str:
    """Both: a chunk's parts, and what so many chunks take."""
    return f"{parts_table(part)}\n\n{plans_table(plans(part))}\n"


def put_in(page: str, part: Measured) -> str:
    """The page with its tables made anew. ValueError where the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{tables(part)}\n{END}{after}"


def parts_table(part: Measured) -> str:
    """What one chunk takes, and whence each number is."""
    measured = "measured"
    rows = [
        ("text of a chunk", _bytes(part.text), measured),
        ("payload, the text included (disk)", _bytes(part.payload), measured),
        ("values in payload indexes", f"{part.keyword_values:.1f}", measured),
        ("terms of the sparse vector", f"{part.nonzeros:.1f}", measured),
        ("vector_db, all in all (disk)", _bytes(part.store), measured),
        ("manifest (disk)", _bytes(part.manifest), measured),
        ("embedding cache (disk; 1 GiB at most)", _bytes(part.cache), measured),
        ("CPU of the indexer", f"{part.indexer_ms:.2f} ms", measured),
        ("CPU of vector_db", f"{part.store_ms:.2f} ms", measured),
        (
            "CPU of the model, float32; int8",
            f"{part.model_ms:.1f}; {part.model_int8_ms:.1f} ms",
            "measured, 190 tokens",
        ),
        (f"dense vector, {DIM} numbers: float32", _bytes(vector(DIM)), "computed"),
        ("the same as int8; binary", f"{vector(DIM, 'int8'):.0f}; {vector(DIM, 'binary'):.0f} B", "computed"),
        ("links in HNSW, m = 16; m = 32", f"{graph(16):.0f}; {graph(32):.0f} B", "computed, upper bound"),
        ("postings of the sparse vector", _bytes(postings(part.nonzeros)), "computed from its terms"),
        ("payload indexes", _bytes(payload_index(part.keyword_values)), "computed from their values"),
    ]
    heads = ("one chunk", "", "how it is known")
    return f"Measured over {part.chunks:,} chunks of {part.source}.\n\n{_markdown(heads, rows)}"


def plans_table(found: Sequence[Plan]) -> str:
    """What so many chunks take, all copies together; all of it computed from the parts."""
    rows = [
        (
            f"{plan.layout.chunks:,}",
            _layout(plan),
            f"{plan.memory_gib:,.1f} GiB",
            f"{plan.disk_gib:,.1f} GiB",
            f"{plan.nodes} / {plan.shards}",
            f"{plan.manifest_gib:,.2f} GiB",
            _hours(plan.model_hours),
            _hours(plan.indexer_hours),
        )
        for plan in found
    ]
    heads = (
        "chunks", "store", "memory", "disk", f"nodes of {NODE_GIB} GiB / shards", "manifest", "model, int8, one core",
        "indexer, one core",
    )  # fmt: skip
    return _markdown(heads, rows)


def _layout(plan: Plan) -> str:
    layout = plan.layout
    if layout.store == "vector_db":
        return "vector_db, exact"
    kept = f"{layout.quantization}, whole vectors on disk" if layout.quantization else "float32"
    return f"Qdrant, {kept}, m {layout.m}, {layout.copies} {'copy' if layout.copies == 1 else 'copies'}"


def _bytes(value: float) -> str:
    return f"{value:,.0f} B"


def _hours(value: float) -> str:
    return f"{value * 60:,.0f} min" if value < 1 else f"{value:,.0f} h"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
