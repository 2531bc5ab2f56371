"""Points as they are stored, in arrays: what a backup keeps, and what goes from one store into another."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rag_app.db.chunks_payload import DENSE, SPARSE
from service_kit.errors import Conflict, Upstream

# (repository, layer, path, blob): the file that a point belongs to, as the manifest names it.
FileKey = tuple[str, str, str, str]

Floats = npt.NDArray[np.float32]

# A few units in the last place of a number near 1. A vector that was cut or mixed up differs by a hundredth.
DRIFT = 1e-6


@dataclass(frozen=True, slots=True)
class Points:
    """n points. Vectors are float32, which is what a store holds, so that JSON on the way loses nothing.

    dense: (n, dim). The sparse vector of point i is indices[ends[i - 1]:ends[i]] with values[…] (from 0 for the first).
    """

    ids: tuple[str, ...]
    payloads: tuple[dict[str, Any], ...]
    dense: Floats
    ends: npt.NDArray[np.uint32]
    indices: npt.NDArray[np.uint32]
    values: Floats

    @classmethod
    def of_wire(cls, records: Sequence[dict[str, Any]]) -> Self:
        """Points out of Qdrant's JSON; Conflict for a vector that this program does not know, Upstream for none."""
        dense, indices, values, ends = [], [], [], [0]
        for record in records:
            vectors = record.get("vector") or {}
            if unknown := vectors.keys() - {DENSE, SPARSE}:
                raise Conflict(
                    f"the index holds vectors called {', '.join(sorted(unknown))}, which this version of the program "
                    "does not know: use the newer one that wrote them"
                )
            if DENSE not in vectors:
                raise Upstream(f"point {record['id']} has no vector {DENSE!r}: this is no index of Code Assistant")
            sparse = vectors.get(SPARSE) or {"indices": (), "values": ()}
            dense.append(vectors[DENSE])
            indices += sparse["indices"]
            values += sparse["values"]
            ends.append(len(indices))
        return cls(
            tuple(str(record["id"]) for record in records),
            tuple(record.get("payload") or {} for record in records),
            np.array(dense, np.float32).reshape(len(records), len(dense[0]) if dense else 0),
            np.array(ends[1:], np.uint32),
            np.array(indices, np.uint32),
            np.array(values, np.float32),
        )

    @classmethod
    def joined(cls, several: Sequence["Points"]) -> "Points":
        """One after the other."""
        several = [one for one in several if len(one)]
        if not several:
            return cls.of_wire([])
        begins = np.cumsum([0, *(len(one.indices) for one in several[:-1])], dtype=np.uint32)
        return cls(
            tuple(i for one in several for i in one.ids),
            tuple(p for one in several for p in one.payloads),
            np.concatenate([one.dense for one in several]),
            np.concatenate([one.ends + begin for one, begin in zip(several, begins, strict=True)]),
            np.concatenate([one.indices for one in several]),
            np.concatenate([one.values for one in several]),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def to_wire(self) -> list[dict[str, Any]]:
        """As Qdrant takes them. Vectors stay arrays: orjson writes a float32 in half the bytes of a Python float."""
        return [
            {"id": self.ids[i], "payload": self.payloads[i], "vector": {DENSE: self.dense[i], SPARSE: self._sparse(i)}}
            for i in range(len(self))
        ]

    def keys(self) -> list[FileKey]:
        """The file of each point; Upstream where a payload has none."""
        try:
            return [(p["repository"], p["layer"], p["path"], p["blob"]) for p in self.payloads]
        except KeyError as exc:
            raise Upstream(f"a point has no {exc} in its payload: this is no index of Code Assistant") from exc

    def only(self, rows: Iterable[int]) -> "Points":
        """Some of them, in the order of `rows`."""
        rows = list(rows)
        if rows == list(range(len(self))):
            return self
        parts = [self._sparse(i) for i in rows]
        return Points(
            tuple(self.ids[i] for i in rows),
            tuple(self.payloads[i] for i in rows),
            self.dense[rows],
            np.cumsum([len(part["indices"]) for part in parts], dtype=np.uint32),
            np.concatenate([self.indices[:0], *(part["indices"] for part in parts)]),
            np.concatenate([self.values[:0], *(part["values"] for part in parts)]),
        )

    def differing(self, there: "Points") -> list[int]:
        """Rows of those that `there` lacks or has otherwise, in payload or vectors.

        The order of a sparse vector's terms says nothing. A store that normalises again what was normalised moves a
        number by its last bit: the dense vectors may differ by DRIFT.
        """
        rows = {identifier: i for i, identifier in enumerate(there.ids)}
        return [i for i, identifier in enumerate(self.ids) if not self._is_at(i, there, rows.get(identifier))]

    def _is_at(self, i: int, there: "Points", row: int | None) -> bool:
        if row is None or self.payloads[i] != there.payloads[row] or self.dense.shape[1] != there.dense.shape[1]:
            return False
        if np.abs(self.dense[i] - there.dense[row]).max(initial=0) > DRIFT:
            return False
        (ours, weights), (theirs, others) = self._sorted_sparse(i), there._sorted_sparse(row)
        return np.array_equal(ours, theirs) and np.array_equal(weights, others)

    def _sorted_sparse(self, i: int) -> tuple[npt.NDArray[np.uint32], Floats]:
        sparse = self._sparse(i)
        order = np.argsort(sparse["indices"], kind="stable")
        return sparse["indices"][order], sparse["values"][order]

    def _sparse(self, i: int) -> dict[str, npt.NDArray[Any]]:
        begin, end = int(self.ends[i - 1]) if i else 0, int(self.ends[i])
        return {"indices": self.indices[begin:end], "values": self.values[begin:end]}
