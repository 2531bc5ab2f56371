"""What the command line computes without a server: events, estimates, durations, progress lines."""

from pathlib import Path
from typing import Any

import pytest

from rag_app.cli.client import is_loopback, parse_events
from rag_app.cli.estimate import Estimate, measure
from rag_app.cli.progress import chunks_left, describe, duration, summary
from rag_app.core.settings import RagSettings


def test_events_may_span_lines_carry_comments_and_miss_a_name() -> None:
    lines = [
        ": keep-alive",
        "",
        "event: message",
        'data: {"delta":',
        'data: "a"}',
        "",
        'data: {"b": 1}',
        "",
        "event: x",
    ]
    assert list(parse_events(iter(lines))) == [("message", {"delta": "a"}), ("message", {"b": 1})]


def test_an_event_whose_data_is_no_object_still_tells_its_name() -> None:
    assert list(parse_events(iter(["event: done", "data: [DONE]", ""]))) == [("done", {})]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1", True),
        ("http://127.0.0.9", True),
        ("http://[::1]:80", True),
        ("http://example.org", False),
        ("http://[bad", False),
    ],
)
def test_loopback_addresses_are_told_from_others(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.44, "0.4 s"), (42.4, "42 s"), (180.0, "3 min"), (9000.0, "2.5 h"), (95.0, "2 min")]
)
def test_durations_are_as_exact_as_a_reader_needs(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_estimate_with_a_measured_rate_tells_the_time() -> None:
    assert Estimate(1204, 6000).describe(50) == (
        "1,204 files, about 6,000 chunks, about 2 min at 50 chunks/s measured here"
    )


def settings(**given: Any) -> RagSettings:
    return RagSettings(_env_file=None, **given)


def test_the_estimate_leaves_out_what_the_indexer_leaves_out(tmp_path: Path) -> None:
    for name in ("out", "node_modules", "index"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "made.js").write_text("x" * 6500)
    (tmp_path / ".gitignore").write_text("out/\n")
    (tmp_path / "a.py").write_text("x" * 5000)
    (tmp_path / "small.py").write_text("x")
    (tmp_path / "logo.bin").write_bytes(b"x\0" * 9000)
    (tmp_path / "rows.csv").write_text("1,2\n" * 900)
    (tmp_path / "package-lock.json").write_text("{}" * 900)
    (tmp_path / "large.py").write_text("x" * 20_001)
    (tmp_path / "gone.js").symlink_to(tmp_path / "nowhere")
    told = settings(max_file_bytes=20_000, data_dir=tmp_path / "index")
    assert measure(tmp_path, told) == Estimate(files=3, chunks=1 + 14 + 1)


def test_the_estimate_expects_larger_chunks_of_prose_than_of_code(tmp_path: Path) -> None:
    (tmp_path / "guide.rst").write_text("word " * 1200)
    assert measure(tmp_path, settings()) == Estimate(files=1, chunks=10)
    (tmp_path / "guide.rst").rename(tmp_path / "guide.py")
    assert measure(tmp_path, settings()) == Estimate(files=1, chunks=17)


def test_the_estimate_of_a_folder_that_cannot_be_listed_is_nothing(tmp_path: Path) -> None:
    assert measure(tmp_path / "gone", settings()) == Estimate(files=0, chunks=0)


def test_a_job_that_has_just_begun_promises_no_rate() -> None:
    assert describe({"files_done": 0, "files_total": 0, "chunks_done": 0, "elapsed_ms": 10}) == (
        "looking for files, 0 chunks"
    )


def progress(files_done: int, chunks_done: int, elapsed_s: float = 10) -> dict[str, Any]:
    return {
        "files_done": files_done, "files_total": 100, "chunks_done": chunks_done, "elapsed_ms": elapsed_s * 1000,
    }  # fmt: skip


def test_time_left_falls_with_every_chunk_and_not_only_when_files_are_done() -> None:
    left = [chunks_left(progress(20, chunks), expected=1000) for chunks in (200, 300, 400)]
    assert left == [800, 700, 600]
    assert describe(progress(0, 200), expected=1000).endswith("20 chunks/s, about 40 s left")


@pytest.mark.parametrize(("expected", "left"), [(1000, 300), (5000, 600), (600, 150)])
def test_an_expectation_that_proves_wrong_is_kept_within_twice_of_what_the_files_tell(expected: int, left: int) -> None:
    assert chunks_left(progress(70, 700), expected) == pytest.approx(left)


def test_time_left_without_an_expectation_is_told_by_the_files_alone() -> None:
    assert chunks_left(progress(25, 100), None) == 300
    assert chunks_left(progress(0, 100), None) is None
    assert "left" not in describe(progress(0, 100))


def test_no_time_left_is_told_when_all_files_are_done() -> None:
    assert "left" not in describe(progress(100, 900), expected=1000)


def test_a_job_that_found_nothing_new_says_so() -> None:
    assert summary({"files_done": 216, "chunks_done": 0, "elapsed_ms": 100}) == (
        "216 files looked at in 0.1 s, nothing has changed"
    )
