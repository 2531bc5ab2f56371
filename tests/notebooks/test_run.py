"""Each notebook runs against a live stack, and shows what it says that it shows."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.notebooks.books import Book

pytestmark = [pytest.mark.notebooks, pytest.mark.timeout(900)]

Run = Callable[[str, str], tuple[Book, Any]]


def is_clean(book: Book, plots: int) -> None:
    """So many plots, and nothing that a reader would stumble over: a warning, a failure, a half-run cell."""
    assert len(book.plots) == plots
    assert [output for output in book.outputs if output["output_type"] == "error"] == []
    assert [output for output in book.outputs if output.get("name") == "stderr"] == []
    assert "Warning" not in book.said


def test_first_steps_index_find_cite_what_is_there_and_have_code_written(ran: Run) -> None:
    book, seen = ran(
        "01_first_steps",
        """{
            "state": states[-1]["state"], "steps": len(states), "chunks": done,
            "paths": [hit["path"] for hit in hits],
            "abstained": refused["abstained"], "cited_nothing": refused["citations"] == [],
            "mode": asked["mode"], "answer": asked["answer"], "checks": checks,
            "parses": generated["checks"]["parses"], "code": generated["code"], "drew_on": len(generated["citations"]),
        }""",
    )
    is_clean(book, plots=2)
    assert seen["state"] == "succeeded"
    assert seen["steps"] > 3
    assert seen["chunks"] == sorted(seen["chunks"])
    assert seen["chunks"][-1] > 1_000
    assert "httpx/_utils.py" in seen["paths"][:3]
    assert seen["abstained"]
    assert seen["cited_nothing"]
    assert seen["mode"] == "generative"
    assert "[99]" not in seen["answer"]  # it was said, and cites nothing
    assert [check["n"] for check in seen["checks"]] == [1]
    assert all(check["is what was quoted"] for check in seen["checks"])
    assert seen["parses"]
    assert "def without_secrets" in seen["code"]
    assert seen["drew_on"] >= 1


def test_chunking_shows_that_ours_fit_the_window_and_that_the_default_splitters_do_not(ran: Run) -> None:
    book, seen = ran(
        "02_chunking",
        """{
            "room": model.room, "here": len(pieces), "held": len(held), "kinds": kinds,
            "lines": [[p.start_line, p.end_line] for p in pieces], "tokens": [n for n, _ in read_ours],
            "unread_of_ours": rows[0]["share unread"], "unread_of_theirs": unread,
            "headers": [piece.header for piece in cut], "example": example.embedded, "path": path,
        }""",
    )
    is_clean(book, plots=3)
    assert seen["here"] == seen["held"]  # what the notebook cuts is what the server has cut
    assert {"block", "class", "method"} <= set(seen["kinds"])
    assert [end + 1 for _, end in seen["lines"][:-1]] == [start for start, _ in seen["lines"][1:]]
    assert max(seen["tokens"]) <= seen["room"]
    assert seen["unread_of_ours"] == 0
    assert 0.4 < seen["unread_of_theirs"] < 0.8  # of 1,024 tokens a model of 256 reads a quarter
    assert min(seen["headers"]) > 0
    assert max(seen["headers"]) <= seen["room"] / 3
    assert seen["example"].startswith(seen["path"])


def test_retrieval_errors_names_the_arm_that_lost_each_answer_and_shows_the_numbers(ran: Run) -> None:
    book, seen = ran(
        "03_retrieval_errors",
        """{
            "ndcg": ndcg, "ranks": ranks, "missed": len(missed), "reasons": dict(reasons),
            "top": top["scores"], "gold": gold["scores"], "gap": len(gaps), "found": len(found),
            "is_worse": one.rank,
        }""",
    )
    is_clean(book, plots=3)
    assert seen["ndcg"]["hybrid"] > 0.5
    assert seen["ndcg"]["hybrid"] > seen["ndcg"]["sparse"]
    assert all(set(ranks) == {"dense", "sparse", "hybrid"} for ranks in seen["ranks"])
    assert any(ranks["dense"] != ranks["sparse"] for ranks in seen["ranks"])
    assert seen["missed"] == sum(ranks["hybrid"] != 1 for ranks in seen["ranks"])
    assert sum(seen["reasons"].values()) == seen["missed"]
    assert "" not in seen["reasons"]
    assert {"fused", "dense_part", "sparse_part"} <= seen["top"].keys() & seen["gold"].keys()
    assert seen["gap"] == seen["found"]
    assert seen["is_worse"] > 1


def test_tuning_draws_curves_by_overridden_weights_and_the_gap_between_both_halves(ran: Run) -> None:
    book, seen = ran(
        "04_tuning_hybrid_search",
        """{
            "by_share": by_share, "default": default, "defaults": defaults, "curves": curves,
            "best": means[best], "turned": sorted(settings[best]),
            "tuned": halves.tuned.mean(), "other": halves.other.mean(),
        }""",
    )
    is_clean(book, plots=4)
    assert max(seen["by_share"]) - min(seen["by_share"]) > 0.03  # where no weight were overridden, it would be flat
    assert "dense_share" in seen["defaults"]
    assert all(max(means) > min(means) for means in seen["curves"].values())
    assert 0.4 < seen["default"] < 1
    assert "dense_share" in seen["turned"]
    assert "rerank_share" not in seen["turned"]  # no cross-encoder reads here
    assert seen["tuned"] > seen["other"]  # the trap that the notebook is about


def test_reading_an_evaluation_has_intervals_paired_differences_and_the_worst_misses(ran: Run) -> None:
    book, seen = ran(
        "05_reading_an_evaluation",
        """{
            "intervals": {arm: [one.low, one.mean, one.high] for arm, one in intervals.items()},
            "rows": rows, "worst": [one.ndcg for one in worst], "ndcg": ndcg["hybrid"],
            "tokens": [row.get("tokens_to_gold") for row in measured["hybrid"].values()],
            "order": order, "gains": [[one.low, one.mean, one.high] for one in gains],
        }""",
    )
    is_clean(book, plots=5)
    assert all(low <= mean <= high and high - low > 0.05 for low, mean, high in seen["intervals"].values())
    assert [row["hybrid less"] for row in seen["rows"]] == ["dense", "sparse"]
    assert all(0 < float(row["p"]) <= 1 for row in seen["rows"])
    assert seen["rows"][1]["better on"] > seen["rows"][1]["worse on"]
    assert seen["worst"] == sorted(seen["ndcg"])[: len(seen["worst"])]
    assert all(tokens is None or tokens > 0 for tokens in seen["tokens"])
    assert set(seen["order"]) == {"dense", "sparse", "hybrid"}
    assert seen["gains"][0] == [0, 0, 0]  # the first over itself
    assert all(mean > 0 for _, mean, _ in seen["gains"][1:])


def test_llamaindex_opens_the_index_and_finds_what_the_api_finds(ran: Run) -> None:
    book, seen = ran(
        "06_open_the_index_with_llamaindex",
        """{
            "same": same, "farthest": farthest, "first": theirs.nodes[0].metadata["path"], "overlaps": overlaps,
            "apart": max(abs(one - other) for one, other in pairs),
        }""",
    )
    is_clean(book, plots=2)
    assert seen["same"]
    assert seen["farthest"] < 1e-3  # ONNX Runtime and torch; 1.5e-7 measured
    assert seen["first"].startswith("httpx/")
    assert min(seen["overlaps"]) >= 9  # the tenth and the eleventh may tie
    assert seen["apart"] < 1e-3
