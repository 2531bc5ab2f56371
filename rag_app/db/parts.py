"""Files of points on disk: NumPy's .npz, which any Python opens in a line, with the vectors as they are.

Payloads are deflated, to 0.30 of real ones; vectors, which deflate brings to 0.93 at 44 MB a CPU-second, are not.
"""

import io
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from rag_app.db.points import Points

# Points of a part: about 5 MB with 384 dimensions, and as much again in memory while it is made or read.
POINTS_A_PART = 2048

# Ids are UUIDs, 36 characters of ASCII.
_ID = "S36"


def write_part(path: Path, points: Points) -> None:
    """Write one part; OSError where the disk is full."""
    payloads = [orjson.dumps(payload) for payload in points.payloads]
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "ids": np.array([identifier.encode() for identifier in points.ids], _ID),
        "payloads": np.frombuffer(b"".join(payloads), np.uint8),
        "payload_ends": np.cumsum([len(payload) for payload in payloads], dtype=np.uint64),
        "dense": points.dense,
        "sparse_ends": points.ends,
        "sparse_indices": points.indices,
        "sparse_values": points.values,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            packed = io.BytesIO()
            np.lib.format.write_array(packed, np.ascontiguousarray(array), allow_pickle=False)
            how = zipfile.ZIP_DEFLATED if name == "payloads" else zipfile.ZIP_STORED
            # A fixed date: the same points are the same bytes.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), packed.getbuffer(), compress_type=how, compresslevel=1)


def read_part(path: Path) -> Points:
    """The points of a part whose checksum was seen to be right."""
    with np.load(path, allow_pickle=False) as arrays:
        packed = arrays["payloads"].tobytes()
        ends = [0, *(int(end) for end in arrays["payload_ends"])]
        return Points(
            tuple(identifier.decode() for identifier in arrays["ids"]),
            tuple(orjson.loads(packed[begin:end]) for begin, end in pairwise(ends)),
            arrays["dense"],
            arrays["sparse_ends"],
            arrays["sparse_indices"],
            arrays["sparse_values"],
        )
