"""The arithmetic of docs/scaling.md: its formulas on numbers that can be checked by hand, and the page held to them."""

from pathlib import Path

import pytest
from fastapi import FastAPI, Request

from benchmarks.capacity.measure import keyword_values, on_disk, sizes
from benchmarks.capacity.page import BEGIN, END, put_in, tables
from benchmarks.capacity.parts import REAL, Measured, graph, payload_index, postings, vector
from benchmarks.capacity.plan import GIB, Layout, disk, memory, plan
from tests.support.live import live

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"
ROUND = Measured("made up", 10, 500, 1_000, 10, 50, 4_000, 100, 1_700, 1.8, 0.4, 36, 3.6)


def test_a_vector_takes_four_bytes_a_number_one_or_a_bit() -> None:
    assert [vector(384), vector(384, "int8"), vector(384, "binary")] == [1536, 388, 48]
    with pytest.raises(ValueError, match="'int4' is not a quantisation that is known"):
        vector(384, "int4")


def test_links_are_twice_m_below_and_m_for_the_one_in_m_that_is_above() -> None:
    # By hand: levels above hold 1/m + 1/m^2 + … = 1/(m - 1) of the vectors, each with m links.
    by_levels = sum(16 / 16**level for level in range(1, 30))
    assert graph(16) == pytest.approx(4 * (32 + by_levels))
    assert graph(0) == 0


def test_memory_is_what_is_searched_and_disk_is_all() -> None:
    plain, large = Layout(1, "Qdrant"), Layout(1, "Qdrant", "int8", is_on_disk=True)
    rest = graph(16) + postings(50) + payload_index(10)
    assert memory(ROUND, plain) == pytest.approx(1536 + rest)
    assert memory(ROUND, large) == pytest.approx(388 + rest)
    assert memory(ROUND, Layout(1, "Qdrant", "int8")) == pytest.approx(1536 + 388 + rest)
    assert disk(ROUND, plain) == pytest.approx(1536 + rest + 1_000)
    assert disk(ROUND, large) == pytest.approx(388 + rest + 1536 + 1_000)


def test_copies_multiply_memory_and_disk_but_neither_the_manifest_nor_the_work() -> None:
    one, two = (plan(ROUND, Layout(100_000_000, "Qdrant", copies=copies)) for copies in (1, 2))
    assert two.memory_gib == 2 * one.memory_gib
    assert two.disk_gib == 2 * one.disk_gib
    assert (two.manifest_gib, two.model_hours, two.indexer_hours) == (
        one.manifest_gib,
        one.model_hours,
        one.indexer_hours,
    )
    assert one.manifest_gib == pytest.approx(1e8 * 100 / GIB)
    assert (one.model_hours, one.indexer_hours) == (pytest.approx(100), pytest.approx(50))  # 3.6 ms and 1.8 ms each


def test_nodes_hold_the_memory_with_a_quarter_spare_and_copies_are_on_nodes_of_their_own() -> None:
    assert plan(ROUND, Layout(1_000, "Qdrant", copies=3)).nodes == 3
    large = plan(ROUND, Layout(100_000_000, "Qdrant"))
    assert (large.nodes - 1) * 48 < large.memory_gib <= large.nodes * 48
    assert large.shards == 2 * large.nodes


def test_vector_db_takes_what_was_measured() -> None:
    small = plan(ROUND, Layout(100_000, "vector_db", m=0))
    assert small.disk_gib == small.memory_gib == pytest.approx(1e5 * 4_000 / GIB)


def test_every_part_of_a_real_chunk_was_measured() -> None:
    assert REAL.chunks > 20_000
    assert all(getattr(REAL, name) > 0 for name in Measured.__slots__ if name != "source")


def test_the_page_has_the_tables_that_the_module_makes() -> None:
    page = PAGE.read_text("utf-8")
    assert put_in(page, REAL) == page, "run: python -m benchmarks.capacity --write"
    assert tables(REAL) in page


def test_a_page_without_its_marks_is_told() -> None:
    assert put_in(f"a {BEGIN} old {END} b", ROUND).startswith(f"a {BEGIN}\n\nMeasured over 10 chunks of made up.")
    with pytest.raises(ValueError, match="the page lacks"):
        put_in("a page", ROUND)


def test_an_index_is_measured_over_qdrants_own_api_and_its_files(tmp_path: Path) -> None:
    payload = {"text": "é", "repository": "r", "layer": "base", "path": "a/b.py", "blob": "x", "language": ""}
    payload |= {"folders": ["a"], "names": ["f", "C.f"]}  # type: ignore[dict-item]
    pages = {None: ([3, 5], "next"), "next": ([7], None)}
    app = FastAPI()

    @app.post("/collections/code/points/scroll")
    async def scroll(request: Request) -> object:
        lengths, following = pages[(await request.json())["offset"]]
        points = [{"payload": payload, "vector": {"sparse": {"indices": [0] * n, "values": [1] * n}}} for n in lengths]
        return {"result": {"points": points, "next_page_offset": following}}

    (tmp_path / "vector_db").mkdir()
    (tmp_path / "vector_db" / "segment").write_bytes(b"x" * 9_000)
    (tmp_path / "manifest.sqlite").write_bytes(b"x" * 30_000)
    (tmp_path / "manifest.sqlite-wal").write_bytes(b"x" * 90_000)
    (tmp_path / "embeddings.sqlite").write_bytes(b"x" * 3_000)
    with live(app) as url:
        found = sizes(url, "code", tmp_path)
    assert (found.chunks, found.text, found.nonzeros, found.keyword_values) == (3, 2, 5, 7)
    assert keyword_values(payload) == 7
    assert [3 * found.manifest, 3 * found.cache] == [
        on_disk(tmp_path / name) for name in ("manifest.sqlite", "embeddings.sqlite")
    ]
    assert found.manifest > found.store > found.cache > 0


def test_a_file_with_holes_counts_by_what_it_takes(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(100_000_000)
    assert on_disk(tmp_path / "sparse") < 1_000_000


def test_an_empty_index_is_told(tmp_path: Path) -> None:
    app = FastAPI()

    @app.post("/collections/code/points/scroll")
    async def scroll() -> object:
        return {"result": {"points": [], "next_page_offset": None}}

    with live(app) as url, pytest.raises(ValueError, match="holds no points; index something first"):
        sizes(url, "code", tmp_path)
