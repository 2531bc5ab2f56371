"""Points as arrays and as files: nothing is lost on the way, and a difference is seen."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from rag_app.core.settings import RagSettings
from rag_app.db.parts import read_part, write_part
from rag_app.db.points import DRIFT, Points
from rag_app.features.backup.ledger import Ledger
from rag_app.features.backup.take import told
from service_kit.errors import Conflict, Upstream


def record(number: int, terms: int = 3) -> dict[str, Any]:
    """As a store writes it: float32 told as the doubles that they are."""
    rng = np.random.default_rng(number)
    dense = [float(v) for v in rng.standard_normal(6).astype(np.float32)]
    sparse = {
        "indices": [number * 7 + t for t in range(terms)],
        "values": [float(np.float32(0.1 * t)) for t in range(terms)],
    }
    payload = {"repository": "r", "layer": "base", "path": f"{number}.py", "blob": "b", "text": f"ß\u2028🚏 {number}"}
    return {"id": f"{number:036}", "payload": payload, "vector": {"dense": dense, "sparse": sparse}}


def points(*numbers: int) -> Points:
    return Points.of_wire([record(number, terms=number % 4) for number in numbers])


def same(one: Points, other: Points) -> bool:
    arrays = zip(
        (one.dense, one.ends, one.indices, one.values),
        (other.dense, other.ends, other.indices, other.values),
        strict=True,
    )
    return (one.ids, one.payloads) == (other.ids, other.payloads) and all(np.array_equal(a, b) for a, b in arrays)


def test_points_go_to_the_wire_and_back_unchanged() -> None:
    made = points(0, 1, 2, 3, 4, 5)
    wire = orjson.loads(orjson.dumps(made.to_wire(), option=orjson.OPT_SERIALIZE_NUMPY))
    assert same(Points.of_wire(wire), made)
    assert wire[3]["vector"]["sparse"]["indices"] == [21, 22, 23]


def test_a_part_holds_what_was_written_and_equal_points_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        write_part(tmp_path / name, points(0, 1, 2, 3, 7))
    assert same(read_part(tmp_path / "one.npz"), points(0, 1, 2, 3, 7))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_points_are_joined_and_taken_apart() -> None:
    joined = Points.joined([points(1, 2), Points.of_wire([]), points(3), points(4, 5)])
    assert same(joined, points(1, 2, 3, 4, 5))
    assert same(joined.only([0, 2, 4]), points(1, 3, 5))
    assert same(joined.only([4, 0]), points(5, 1))
    assert len(joined.only([])) == len(Points.joined([])) == 0


def test_a_difference_in_any_part_of_a_point_is_seen() -> None:
    here = points(1, 2, 3)
    assert here.differing(points(3, 1, 2)) == []
    assert here.differing(points(1, 3)) == [1]
    changes: list[Any] = [
        lambda r: r["payload"].update(text="other"),
        lambda r: r["vector"]["dense"].__setitem__(2, r["vector"]["dense"][2] + 10 * DRIFT),
        lambda r: r["vector"]["sparse"]["values"].__setitem__(0, 0.5),
        lambda r: r["vector"]["sparse"]["indices"].__setitem__(0, 99),
        lambda r: r["vector"].update(sparse={"indices": [], "values": []}),
    ]
    for change in changes:
        other = record(3)
        change(other)
        assert Points.of_wire([record(3)]).differing(Points.of_wire([other])) == [0]


def test_what_says_nothing_is_no_difference() -> None:
    other = record(3)
    sparse = other["vector"]["sparse"]
    other["vector"]["sparse"] = {name: values[::-1] for name, values in sparse.items()}
    other["vector"]["dense"][0] += DRIFT / 10
    assert Points.of_wire([record(3)]).differing(Points.of_wire([other])) == []


def test_a_point_of_something_else_is_refused() -> None:
    stranger = record(1)
    del stranger["vector"]["dense"]
    with pytest.raises(Upstream, match="no vector 'dense'"):
        Points.of_wire([stranger])
    newer = record(1)
    newer["vector"]["static"] = [1.0]
    with pytest.raises(Conflict, match="static, which this version of the program does not know"):
        Points.of_wire([newer])
    without = record(1)
    del without["payload"]["blob"]
    with pytest.raises(Upstream, match="'blob' in its payload"):
        Points.of_wire([without]).keys()


def test_what_was_seen_of_a_file_in_a_later_round_replaces_what_was_before(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    key = ("r", "base", "a.py", "b")
    ledger.saw([key, key], 0)
    ledger.saw([key], 0)
    assert ledger._connection.execute("SELECT round, points FROM seen").fetchall() == [(0, 3)]
    ledger.saw([key, key], 1)
    assert ledger._connection.execute("SELECT round, points FROM seen").fetchall() == [(1, 2)]
    ledger.expects([key], 2)
    assert ledger._connection.execute("SELECT round, points FROM seen").fetchall() == [(2, 0)]
    ledger.close()


def test_settings_are_told_without_secrets_and_without_users_of_addresses() -> None:
    settings = RagSettings(_env_file=None, qdrant_api_key="k1", llm_url="https://me:pw@llm.internal/v1")  # type: ignore[call-arg, arg-type]
    shown = told(settings)
    assert shown["LLM_URL"] == "https://llm.internal/v1"
    assert shown["QDRANT_PORT"] == 6333
    assert not [name for name in shown if "KEY" in name and not name.endswith("_FILE")]
