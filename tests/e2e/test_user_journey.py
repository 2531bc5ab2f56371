"""What a user sees who indexes Flask, searches and asks, through the command line and REST, over real services."""

import hashlib
import json
import time
import urllib.request
from pathlib import Path

from tests.support.scripted_llm import ScriptedLlm
from tests.support.stack import Stack

QUESTION = "How does Flask find the template folder?"


def test_search_puts_the_file_that_answers_among_the_first_three(stack: Stack) -> None:
    found = stack.cli("search", QUESTION, "--limit", "3", "--json")
    assert found.returncode == 0, found.stderr
    assert "src/flask/sansio/scaffold.py" in [hit["path"] for hit in json.loads(found.stdout)["hits"]]


def test_piped_search_prints_places_that_an_editor_can_open(stack: Stack, flask: Path) -> None:
    found = stack.cli("search", "jinja_loader", "--limit", "3")
    path, line, text = found.stdout.splitlines()[0].split(":", 2)
    assert (flask / path).read_text().splitlines()[int(line) - 1].strip() == text.strip()


def test_filters_narrow_a_search_to_a_folder_and_a_language(stack: Stack) -> None:
    status, answer = stack.post("/v1/search", {"query": "template folder", "paths": ["docs/"], "limit": 5})
    assert status == 200
    hits = answer["hits"]
    assert isinstance(hits, list)
    assert hits
    assert all(hit["path"].startswith("docs/") for hit in hits)


def test_nothing_found_is_exit_code_one(stack: Stack) -> None:
    assert stack.cli("search", "template", "--path", "no/such/folder/").returncode == 1


def test_an_answer_cites_lines_that_say_what_was_quoted(stack: Stack, model: ScriptedLlm, flask: Path) -> None:
    model.will_say("It joins the root path and the folder [1], and nothing else does [77].")
    status, answer = stack.post("/v1/ask", {"question": QUESTION})
    assert (status, answer["mode"]) == (200, "generative")
    assert "[77]" not in str(answer["answer"])
    citations = answer["citations"]
    assert isinstance(citations, list)
    assert [citation["index"] for citation in citations] == [1]
    cited = citations[0]
    quoted = "\n".join((flask / cited["path"]).read_text().split("\n")[cited["start_line"] - 1 : cited["end_line"]])
    assert cited["sha256"] == hashlib.sha256(quoted.encode()).hexdigest()


def test_the_model_was_given_passages_of_flask(stack: Stack, model: ScriptedLlm) -> None:
    model.will_say("See [1].")
    stack.post("/v1/ask", {"question": QUESTION})
    assert "template_folder" in json.dumps(model.requests[-1]["messages"])


def test_a_question_that_the_code_does_not_answer_is_not_answered(stack: Stack, model: ScriptedLlm) -> None:
    asked_before = len(model.requests)
    _, answer = stack.post("/v1/ask", {"question": "Which wine goes with grilled salmon and asparagus?"})
    assert (answer["abstained"], answer["citations"]) == (True, [])
    assert len(model.requests) == asked_before


def test_the_command_line_streams_an_answer_and_lists_its_citations(stack: Stack, model: ScriptedLlm) -> None:
    model.will_say("The loader joins both paths [1].")
    asked = stack.cli("ask", QUESTION)
    assert asked.returncode == 0, asked.stderr
    assert "joins both paths [1]" in asked.stdout
    assert "src/flask/" in asked.stdout


def test_generated_code_parses_and_says_what_it_drew_on(stack: Stack, model: ScriptedLlm) -> None:
    model.will_say("Like [1]:\n```python\ndef loader(self):\n    return None\n```\n")
    status, answer = stack.post("/v1/generate", {"instruction": "a template loader", "language": "python"})
    assert status == 200
    assert "def loader" in str(answer["code"])
    assert isinstance(answer["checks"], dict)
    assert answer["checks"]["parses"] is True
    assert answer["citations"]


def test_a_second_index_run_embeds_nothing_again(stack: Stack, flask: Path) -> None:
    again = stack.cli("index", str(flask), "--json")
    assert again.returncode == 0, again.stderr
    progress = json.loads(again.stdout)["job"]["progress"]
    assert progress["chunks_embedded"] == 0


def test_a_changed_file_is_found_by_its_new_words_and_not_by_its_old(stack: Stack, flask: Path) -> None:
    place = flask / "src" / "flask" / "zebra.py"
    place.write_text("def graze_savannah():\n    return 'grass'\n")
    assert stack.cli("index", str(flask)).returncode == 0
    assert "zebra.py" in stack.cli("search", "graze_savannah", "--limit", "1").stdout
    place.write_text("def drink_waterhole():\n    return 'water'\n")
    assert stack.cli("index", str(flask)).returncode == 0
    hits = json.loads(stack.cli("search", "graze_savannah", "--limit", "5", "--json").stdout)["hits"]
    assert all("graze_savannah" not in hit["content"] for hit in hits)
    place.unlink()
    assert stack.cli("index", str(flask)).returncode == 0
    assert "zebra.py" not in stack.cli("search", "drink_waterhole", "--limit", "5").stdout


def test_a_folder_outside_the_allowed_roots_is_refused_with_the_setting(stack: Stack) -> None:
    refused = stack.cli("index", "/etc")
    assert refused.returncode == 2
    assert "ALLOWED_ROOTS" in refused.stderr


def test_a_request_id_is_in_the_logs_of_each_service_it_passed(stack: Stack) -> None:
    body = json.dumps({"query": "blueprint registration"}).encode()
    headers = {"content-type": "application/json", "x-request-id": "trace-me-7"}
    with urllib.request.urlopen(urllib.request.Request(f"{stack.url}/v1/search", body, headers), timeout=60):
        pass
    for service in ("rag_app", "embedding_service", "vector_db"):
        _wait_for_line(stack.folder / f"{service}.log", "trace-me-7")


def test_one_question_is_followed_through_all_four_services_by_its_id(stack: Stack, model: ScriptedLlm) -> None:
    model.will_say("A blueprint is registered by `register_blueprint` [1].")
    answered = stack.cli("ask", "how is a blueprint registered?", "--verbose")
    assert answered.returncode == 0, answered.stderr
    request = answered.stderr.split("--request-id ")[1].split()[0]
    for service in ("rag_app", "embedding_service", "vector_db", "llm_service"):
        _wait_for_line(stack.folder / f"{service}.log", request)
    assert model.headers[-1]["x-request-id"] == request
    told = stack.cli("logs", "--request-id", request, "--from", str(stack.folder), "--json")
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert {line["service"] for line in lines} == {"rag_app", "embedding_service", "vector_db", "llm_service"}
    assert {line["request_id"] for line in lines} == {request}
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert lines[-1]["route"] == "/v1/ask"  # its line is written when the answer is whole
    assert stack.cli("logs", "--request-id", f"{request}0", "--from", str(stack.folder)).returncode == 1


def test_every_line_of_every_log_is_json(stack: Stack) -> None:
    for service in ("rag_app", "embedding_service", "vector_db", "llm_service"):
        for line in (stack.folder / f"{service}.log").read_text().splitlines():
            assert {"time", "level", "service", "request_id", "message"} <= json.loads(line).keys(), line


def _wait_for_line(log: Path, words: str, within_s: float = 30) -> None:
    """A service writes its line once its answer has left, so the client may be here first."""
    deadline = time.monotonic() + within_s
    while words not in log.read_text():
        assert time.monotonic() < deadline, f"{log.name} never said {words!r}"
        time.sleep(0.05)


def test_an_index_job_is_in_the_logs_of_each_service_it_passed(stack: Stack, flask: Path) -> None:
    job = json.loads(stack.cli("index", str(flask), "--json").stdout)["job"]["id"]
    for service in ("rag_app", "vector_db"):
        _wait_for_line(stack.folder / f"{service}.log", job)
