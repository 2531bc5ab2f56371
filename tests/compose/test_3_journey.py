"""From `up` to a cited answer, as a new user goes."""

import json
import subprocess
import sys

import httpx

from tests.compose.conftest import Note
from tests.compose.stack import SERVICES, Stack, until

QUESTION = "How does Flask find the template folder?"


def test_all_are_healthy_once_up_returns(running: Stack) -> None:
    found = running.containers()
    assert {name: found[name]["State"]["Health"]["Status"] for name in SERVICES} == dict.fromkeys(SERVICES, "healthy")


def test_without_its_key_the_published_server_tells_nothing(indexed: Stack) -> None:
    answer = httpx.post(f"{indexed.url()}/v1/search", json={"query": "template"}, timeout=30, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert "template" not in answer.text.lower().replace("code", "")


def test_a_search_finds_the_code(indexed: Stack) -> None:
    answer = indexed.ask("POST", "/v1/search", {"query": QUESTION})
    assert answer.status_code == 200, answer.text
    assert answer.json()["degraded"] == []
    assert answer.json()["hits"][0]["path"].endswith(("templating.py", "scaffold.py"))


def test_an_answer_is_written_by_the_model(indexed: Stack) -> None:
    answer = indexed.ask("POST", "/v1/ask", {"question": QUESTION}).json()
    assert (answer["mode"], answer["degraded"]) == ("generative", [])
    assert answer["hits"]


def test_an_answer_streams_through_the_published_port(indexed: Stack) -> None:
    headers = {"authorization": f"Bearer {indexed.key}"}
    body = {"question": QUESTION, "stream": True}
    with httpx.stream(
        "POST", f"{indexed.url()}/v1/ask", json=body, headers=headers, timeout=60, trust_env=False
    ) as got:
        text = "".join(got.iter_text())
    assert got.headers["content-type"].startswith("text/event-stream")
    assert text.count("data:") > 2


def test_the_command_line_in_the_container_needs_no_key(indexed: Stack) -> None:
    told = json.loads(indexed.cli("status", "--json").stdout)
    assert told["status"] == "ready"
    assert [repository["name"] for repository in told["repositories"]] == ["flask"]
    assert indexed.cli("doctor").returncode == 0


def test_one_question_is_followed_through_the_containers_logs(indexed: Stack) -> None:
    indexed.ask("POST", "/v1/ask", {"question": QUESTION}, **{"x-request-id": "followed-1"})
    asked = ["logs", "--request-id", "followed-1", "--json"]
    written = indexed.run("logs", "--no-color").stdout
    piped = indexed.run("exec", "-T", "rag-server", "code-assistant", *asked, "-", sent=written).stdout
    program = [sys.executable, "-m", "rag_app.cli.main", *asked, "--from", "compose"]
    environment = {**indexed.environment, "PYTHONPATH": str(indexed.folder)}
    done = subprocess.run(program, cwd=indexed.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for told in (piped, done.stdout):
        services = {json.loads(line)["service"] for line in told.splitlines()}
        assert services >= {"rag_app", "embedding_service", "llm_service"}
    assert indexed.key not in written
    assert "template folder" not in written


def test_a_folder_of_another_owner_is_indexed_with_its_commit(running: Stack) -> None:
    """git trusts no folder of another user by itself, and the container's user owns none of the host's."""
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "x"],
    ):
        running.docker(
            "run", "--rm", "--user", "0", "--volume", f"{running.folder}/repositories/owned:/r", "--workdir", "/r",
            "--entrypoint", "sh", "code-assistant/rag-server:test", "-c",
            "echo 'def owned(): ...' > owned.py; git " + " ".join(command),
        )  # fmt: skip
    running.cli("index", "/repositories/owned", "--name", "owned")
    known = running.ask("GET", "/v1/repositories").json()["repositories"]
    assert len(next(each["commit"] for each in known if each["name"] == "owned")) == 40
    running.cli("repos", "delete", "owned")


def test_one_service_comes_up_alone(running: Stack, note: Note) -> None:
    alone = Stack(running.folder, running.engine, running.files, f"{running.project}-alone")
    try:
        alone.up("embedding-server")
        assert set(alone.containers()) == {"embedding-server"}
        url = alone.url("EMBEDDING_PORT")
        took = until(lambda: httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200, "health")
        assert took < 60
    finally:
        alone.down()
