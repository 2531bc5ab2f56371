"""`code-assistant ask` and `generate`."""

import json
import subprocess
import sys
import threading

import pytest

from tests.support.cli import Cli, Outcome
from tests.support.fake_rag import FakeRag, failure
from tests.support.live import live


def test_ask_prints_the_answer_and_then_what_it_cites(cli: Cli) -> None:
    answered = cli("ask", "where are templates found?")
    assert answered.code == 0
    assert answered.out.splitlines() == [
        "Templates are found by `find_template` [1].",
        "",
        "[1] src/app.py:12-14  flask@0123456789",
    ]


def test_ask_streams_the_answer_as_it_is_written(rag: FakeRag) -> None:
    rag.pieces, rag.may_go_on = ["first ", "second"], threading.Event()
    with live(rag.app()) as url:
        asked = subprocess.Popen(
            [sys.executable, "-m", "rag_app.cli.main", "ask", "q", "--server", url], stdout=subprocess.PIPE
        )
        assert asked.stdout is not None
        assert asked.stdout.read(6) == b"first "
        rag.may_go_on.set()
        assert asked.communicate(timeout=60)[0].startswith(b"second")


def test_a_final_answer_that_differs_from_what_was_streamed_is_shown(cli: Cli, rag: FakeRag) -> None:
    rag.pieces, rag.final = ["See [1] and [9]."], "See [1]."
    assert "\n\nSee [1].\n" in cli("ask", "q").out


def test_an_extractive_answer_names_the_settings_that_change_it(cli: Cli, rag: FakeRag) -> None:
    rag.degraded = ["llm"]
    err = cli("ask", "q").err
    assert "OPENAI_API_KEY" in err
    assert "LLM_BASE_URL" in err


def test_an_abstained_answer_is_exit_code_1(cli: Cli, rag: FakeRag) -> None:
    rag.abstained, rag.citations, rag.pieces = True, [], ["Nothing relevant was found."]
    answered = cli("ask", "q")
    assert answered == Outcome(1, "Nothing relevant was found.\n", "")


def test_an_error_amid_the_stream_is_told_with_exit_code_2(cli: Cli, rag: FakeRag) -> None:
    rag.stream_error = {"error": {"code": "timeout", "message": "no answer within 120 s"}}
    answered = cli("ask", "q")
    assert answered.code == 2
    assert answered.err == "no answer within 120 s\n"


def test_a_stream_that_breaks_off_is_an_error_and_no_answer(cli: Cli, rag: FakeRag) -> None:
    rag.breaks_off = True
    answered = cli("ask", "q")
    assert answered.code == 2
    assert "broke off" in answered.err


def test_ask_in_json_is_the_unstreamed_answer(cli: Cli, rag: FakeRag) -> None:
    assert json.loads(cli("ask", "q", "--json").out)["citations"] == rag.citations
    assert rag.asked("/v1/ask") == {"question": "q", "stream": False}


def test_generated_code_alone_goes_to_standard_output(cli: Cli, rag: FakeRag) -> None:
    made = cli("generate", "a function", "--language", "python", "--into", "src/made.py")
    assert (made.code, made.out) == (0, "def made() -> int:\n    return 1\n")
    assert "src/app.py:12-14" in made.err
    assert rag.asked("/v1/generate") == {"instruction": "a function", "language": "python", "path": "src/made.py"}
    assert json.loads(cli("generate", "a function", "--json").out)["checks"] == {"parses": True, "repaired": False}


def test_generated_code_that_does_not_parse_is_exit_code_1(cli: Cli, rag: FakeRag) -> None:
    rag.parses = False
    made = cli("generate", "a function")
    assert made.code == 1
    assert "does not parse" in made.err


@pytest.mark.parametrize("words", [["ask", "q"], ["ask", "q", "--json"], ["search", "q"], ["generate", "q"]])
def test_verbose_tells_the_request_id_beside_the_answer(cli: Cli, words: list[str]) -> None:
    told, quiet = cli(*words, "--verbose"), cli(*words)
    assert "code-assistant logs --request-id 4f1c9d" in told.err
    assert "4f1c9d" not in quiet.err + quiet.out
    assert told.out == quiet.out


@pytest.mark.parametrize(("status", "is_told"), [(502, True), (422, False)])
def test_a_fault_of_the_services_tells_the_request_id_to_look_for(
    cli: Cli, rag: FakeRag, status: int, is_told: bool
) -> None:
    rag.failure = failure(status, "upstream", "the model answered 500")
    assert ("logs --request-id t" in cli("ask", "q").err) is is_told


def test_an_answer_that_breaks_tells_the_request_id(cli: Cli, rag: FakeRag) -> None:
    rag.stream_error = {"error": {"code": "upstream", "message": "broke", "request_id": "t7"}}
    assert "logs --request-id t7" in cli("ask", "q").err
