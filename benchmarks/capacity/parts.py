"""What one chunk takes. The measured numbers are of an index of real code; `--measure` takes them again."""

from dataclasses import dataclass

DIM = 384

# One float32, one id of a point or of a term.
_NUMBER = 4


@dataclass(frozen=True, slots=True)
class Measured:
    """A chunk's parts as they were found, in bytes where nothing else is said; of one index, named by `source`."""

    source: str
    chunks: int
    text: float
    payload: float  # as JSON, the text included
    keyword_values: float  # values of payload keys that queries filter by
    nonzeros: float  # terms of the sparse vector
    store: float  # on disk in vector_db
    manifest: float  # on disk, in SQLite
    cache: float  # on disk, the embedding cache
    indexer_ms: float  # CPU of rag_app: read, cut, weigh, write; without the model
    store_ms: float  # CPU of vector_db
    model_ms: float  # CPU of the embedding service at float32
    model_int8_ms: float


# Python for the most part, 11 to 13 lines a chunk; random vectors of 384 numbers, since their values change no size.
# CPU is of the whole run, 27.5 and 20.6 s, without the start (4 and 1 s). The model's times are of 2026-11-25, over
# chunks of 190 tokens, one thread (docs/log.md).
REAL = Measured(
    source="Flask 3.1.2, networkx, SQLAlchemy and openai, 2026-11-26",
    chunks=54_307,
    text=413,
    payload=837,
    keyword_values=8.16,
    nonzeros=38.2,
    store=3_738,
    manifest=126,
    cache=2_157,
    indexer_ms=0.43,
    store_ms=0.36,
    model_ms=1000 / 43,
    model_int8_ms=1000 / 87,
)


def vector(dim: int, quantization: str | None = None) -> float:
    """Bytes of one vector: float32, int8 (and a scale), binary (a bit a number)."""
    match quantization:
        case None:
            return dim * _NUMBER
        case "int8":
            return dim + _NUMBER
        case "binary":
            return dim / 8
    raise ValueError(f"{quantization!r} is not a quantisation that is known: int8, binary")


def graph(m: int) -> float:
    """Bytes of one vector's links in HNSW: 2 m on the lowest level, m on each level above, where one of m comes.

    Source: Malkov and Yashunin 2016, section 4.2.3. Qdrant packs links tighter, so that this is the upper bound.
    """
    if m == 0:
        return 0.0
    above = 1 / (m - 1) if m > 1 else 1.0  # levels above the lowest that a vector is on, on average
    return (2 * m + m * above) * _NUMBER


def postings(nonzeros: float) -> float:
    """Bytes of one sparse vector in Qdrant's inverted index: the point, the weight, the greatest weight after it."""
    return nonzeros * 3 * _NUMBER


def payload_index(values: float) -> float:
    """Bytes of one point's filtered values: the point in the value's list, the value in the point's, an offset each."""
    return values * 4 * _NUMBER
