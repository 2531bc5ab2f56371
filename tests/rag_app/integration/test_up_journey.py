"""`up --repo`: index, search, ask, against a server with canned answers; what a first user reads."""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from pydantic import SecretStr
from starlette.responses import Response

from rag_app.cli.client import Failure
from rag_app.cli.main import main
from rag_app.cli.stack import Plan
from rag_app.cli.up import measure_rate, run
from tests.support.fake_rag import FakeRag, citation, hit
from tests.support.fake_tei import FakeTei
from tests.support.live import free_port, live


class CtrlC(io.StringIO):
    """A standard output that presses Ctrl-C once a certain text was written to it."""

    def __init__(self, when: str):
        super().__init__()
        self._when = when

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._when in text:
            os.kill(os.getpid(), signal.SIGINT)
        return written


@pytest.fixture
def rag() -> FakeRag:
    return FakeRag()


@pytest.fixture
def plan(rag: FakeRag, tmp_path: Path) -> Iterator[Plan]:
    embedder = FastAPI()
    embedder.post("/embed")(lambda: [])
    with live(rag.app()) as url, live(embedder) as embedding_url:
        yield Plan((), {}, tmp_path / "data", url, embedding_url, "http://127.0.0.1:9/v1", ("Qdrant at db",))


def source(folder: Path) -> dict[str, str]:
    (folder / "a.py").write_text("x = 1\n")
    return {"type": "path", "path": str(folder)}


def test_the_journey_shows_an_estimate_hits_the_answer_and_the_cited_lines(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(plan, source(tmp_path), "how are templates found?", once=True) == 0
    told = capsys.readouterr()
    assert "1 files, about 1 chunks, about" in told.err
    assert "measured here" in told.err
    assert "indexed new: 12 files" in told.err
    assert "using Qdrant at db, as set" in told.err
    assert "src/app.py:10-15" in told.out  # the hit
    assert "Templates are found by `find_template` [1]." in told.out
    cited = told.out.partition("[1] src/app.py:12-14")[2]
    assert "12 " in cited
    assert "for folder in template_folders()" in cited
    assert "return None" not in cited  # line 15 is not cited


def test_cited_lines_outside_of_all_hits_are_fetched_from_the_source(
    plan: Plan, rag: FakeRag, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rag.citations = [citation(1, "other.py", 70, 71)]
    assert run(plan, source(tmp_path), "q", once=True) == 0
    assert "line_71 = 71" in capsys.readouterr().out


def test_long_hits_are_shown_by_their_beginning(
    plan: Plan, rag: FakeRag, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rag.hits = [hit("long.py", 1, "\n".join(f"v{n} = {n}" for n in range(1, 41)))]
    rag.citations = [citation(1, "long.py", 2, 3)]
    run(plan, source(tmp_path), "q", once=True)
    out = capsys.readouterr().out
    assert "v12 = 12" in out
    assert "v13" not in out
    assert "… 28 more lines" in out


def test_an_extractive_answer_is_followed_by_the_places_it_cites_and_not_by_its_lines_again(
    plan: Plan, rag: FakeRag, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rag.degraded = ["llm"]
    run(plan, source(tmp_path), "q", once=True)
    assert capsys.readouterr().out.endswith("[1] src/app.py:12-14  flask@0123456789\n")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"job_states": ["failed"], "job_error": {"code": "internal", "message": "disk full"}}, "disk full"),
        ({"hits": []}, "found nothing"),
        ({"citations": []}, "no answer with citations"),
        ({"abstained": True}, "no answer with citations"),
    ],
)
def test_once_ends_with_the_reason_where_a_step_failed(
    plan: Plan, rag: FakeRag, tmp_path: Path, broken: dict[str, object], reason: str
) -> None:
    for name, value in broken.items():
        setattr(rag, name, value)
    with pytest.raises(Failure, match=reason) as told:
        run(plan, source(tmp_path), "q", once=True)
    assert told.value.exit_code == 1


def test_a_failed_step_leaves_the_server_up_where_it_shall_serve(
    plan: Plan, rag: FakeRag, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rag.hits = []
    with redirect_stdout(CtrlC(when=f"serving {plan.url}")) as out:
        assert run(plan, source(tmp_path), "q") == 0
    assert out.getvalue().endswith("(Ctrl-C ends)\n")
    assert "found nothing" in capsys.readouterr().err


def test_who_serves_beyond_loopback_is_told_where_the_key_is(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for asks in (True, False):
        with redirect_stdout(CtrlC(when=f"serving {plan.url}")):
            run(replace(plan, asks_for_key=asks), None, "q")
        assert ("code-assistant key" in capsys.readouterr().err) is asks


def test_ctrl_c_while_indexing_is_exit_code_130(plan: Plan, rag: FakeRag, tmp_path: Path) -> None:
    rag.job_states, rag.on_job = ["running"], lambda: os.kill(os.getpid(), signal.SIGINT)
    assert run(plan, source(tmp_path), "q", once=True) == 130


def test_a_folder_that_does_not_exist_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["up", "--repo", "no/such/folder", "--once"])
    assert ended.value.code == 2
    assert "neither a folder" in capsys.readouterr().err


def test_up_names_a_taken_port_and_its_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with live(FakeRag().app()) as url:
        for name in ("RAG_PORT", "LLM_PORT", "QDRANT_PORT"):
            monkeypatch.setenv(name, str(free_port()))
        monkeypatch.setenv("EMBEDDING_PORT", url.rpartition(":")[2])
        monkeypatch.setenv("DATA_DIR", str(tmp_path))
        with pytest.raises(SystemExit) as ended:
            main(["up", "--once"])
    assert ended.value.code == 2
    assert "EMBEDDING_PORT" in capsys.readouterr().err


def test_no_rate_is_told_where_the_embedding_service_cannot_be_measured() -> None:
    assert measure_rate(f"http://127.0.0.1:{free_port()}") is None


def test_the_rate_of_a_service_with_a_key_is_measured_with_it() -> None:
    async def embed(request: Request) -> Response:
        return Response(status_code=200 if request.headers.get("authorization") == "Bearer sesame" else 401)

    app = FastAPI()
    app.post("/embed")(embed)
    with live(app) as url:
        assert measure_rate(url) is None
        assert measure_rate(url, SecretStr("sesame")) is not None


def test_the_rate_is_measured_on_texts_that_no_cache_can_answer() -> None:
    server = FakeTei(max_client_batch_size=32)
    with live(server.app()) as url:
        assert measure_rate(url) is not None
        assert measure_rate(url) is not None
    texts = [text for batch in server.batches for text in batch]
    # Of equal length, and different within the first tokens: what comes after the window would be cut.
    assert len({text[:40] for text in texts}) == len(texts) == 64
