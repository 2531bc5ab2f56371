"""Takes a chunk's parts from an index that is there: points over Qdrant's REST API, files of the data folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

# The payload keys that queries filter by; lists count with each of their values.
KEYWORDS = ("repository", "layer", "path", "blob", "language", "folders", "names")

_PAGE = 256


@dataclass(frozen=True, slots=True)
class Sizes:
    """Means over all points of a collection, in bytes where nothing else is said; and files on disk, by chunk."""

    chunks: int
    text: float
    payload: float
    keyword_values: float
    nonzeros: float
    store: float
    manifest: float
    cache: float


def sizes(qdrant_url: str, collection: str, data_dir: Path) -> Sizes:
    """Of the index behind `qdrant_url`, whose vector_db and manifest are in `data_dir`. ValueError where it is empty.

    Nothing else may be in the data folder than what this collection's repositories left there.
    """
    text = payload = values = nonzeros = chunks = 0
    with httpx.Client(base_url=qdrant_url, timeout=60) as client:
        offset: Any = None
        while True:
            body = {"limit": _PAGE, "offset": offset, "with_payload": True, "with_vector": ["sparse"]}
            page = (
                client.post(f"/collections/{collection}/points/scroll", json=body).raise_for_status().json()["result"]
            )
            for point in page["points"]:
                chunks += 1
                text += len(point["payload"]["text"].encode())
                payload += len(orjson.dumps(point["payload"]))
                values += keyword_values(point["payload"])
                nonzeros += len(point["vector"]["sparse"]["indices"])
            offset = page["next_page_offset"]
            if offset is None:
                break
    if not chunks:
        raise ValueError(f"{collection} at {qdrant_url} holds no points; index something first")
    return Sizes(
        chunks=chunks,
        text=text / chunks,
        payload=payload / chunks,
        keyword_values=values / chunks,
        nonzeros=nonzeros / chunks,
        store=on_disk(data_dir / "vector_db") / chunks,
        # Without the write-ahead logs: they keep the size that they once had, and do not grow with the index.
        manifest=on_disk(data_dir / "manifest.sqlite") / chunks,
        cache=on_disk(data_dir / "embeddings.sqlite") / chunks,
    )


def keyword_values(payload: dict[str, Any]) -> int:
    """How many values of a payload stand in an index."""
    found = [payload.get(key) for key in KEYWORDS]
    return sum(len(value) if isinstance(value, list) else value not in (None, "") for value in found)


def on_disk(path: Path) -> int:
    """Bytes that a file, or all files of a folder, take of the disk: holes of sparse files are not counted."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file())
