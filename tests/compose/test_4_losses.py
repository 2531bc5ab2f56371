"""Each container is killed in turn, and stopped for a while: what a caller sees, and how long until all is normal."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.compose.conftest import Note
from tests.compose.stack import Stack, until

QUERY = "How does Flask find the template folder?"


@dataclass(frozen=True)
class Seen:
    """Status and, of a 200, `degraded`; else the error's word, or `refused` where no server answers."""

    status: int
    told: object

    @classmethod
    def of(cls, stack: Stack, path: str, body: object) -> "Seen":
        try:
            answer = stack.ask("POST", path, body)
        except httpx.TransportError:
            return cls(0, "refused")
        told = answer.json()
        return cls(answer.status_code, told["degraded"] if answer.status_code == 200 else told["error"]["code"])


def search(stack: Stack) -> Seen:
    return Seen.of(stack, "/v1/search", {"query": QUERY})


def ask(stack: Stack) -> Seen:
    return Seen.of(stack, "/v1/ask", {"question": QUERY})


NORMAL = Seen(200, [])
# Service -> what a search and a question see while it is gone.
LOSSES = {
    "embedding-server": (Seen(200, ["embedding"]), Seen(200, ["embedding"])),
    "llm-server": (NORMAL, Seen(200, ["llm"])),
    "vector-db": (Seen(503, "unavailable"), Seen(503, "unavailable")),
    "rag-server": (Seen(0, "refused"), Seen(0, "refused")),
}


@pytest.fixture
def whole(indexed: Stack) -> Iterator[Stack]:
    """Normal before and, however the test ends, after."""
    until(lambda: search(indexed) == NORMAL and ask(indexed) == NORMAL, "a normal search and answer")
    yield indexed
    indexed.run("start", check=False)
    until(lambda: search(indexed) == NORMAL and ask(indexed) == NORMAL, "a normal search and answer again")


@pytest.mark.parametrize("service", LOSSES)
def test_while_it_is_stopped_callers_are_told_and_all_is_normal_after_its_start(
    whole: Stack, service: str, note: Note
) -> None:
    whole.run("stop", "--timeout", "10", service)
    seen = (search(whole), ask(whole))
    note(f"{service}_gone", [[each.status, each.told] for each in seen])
    assert seen == LOSSES[service]
    whole.run("start", service)
    took = until(lambda: search(whole) == NORMAL and ask(whole) == NORMAL, f"normal after the start of {service}")
    note(f"{service}_normal_after_start_s", round(took, 1))


@pytest.mark.parametrize("service", LOSSES)
def test_after_a_crash_it_comes_back_by_itself(whole: Stack, service: str, note: Note) -> None:
    restarts = whole.containers()[service]["RestartCount"]
    whole.kill(service)
    until(lambda: whole.containers()[service]["RestartCount"] == restarts + 1, "its restart")
    took = until(lambda: search(whole) == NORMAL and ask(whole) == NORMAL, f"normal after a crash of {service}")
    note(f"{service}_normal_after_crash_s", round(took, 1))


def test_a_job_whose_server_crashes_is_begun_again_and_ends(whole: Stack) -> None:
    started = whole.ask(
        "POST", "/v1/repositories", {"source": {"type": "path", "path": "/repositories/flask-3.1.2/tests"}}
    )
    assert started.status_code == 202, started.text
    job = started.json()["job"]["id"]
    until(lambda: whole.ask("GET", f"/v1/jobs/{job}").json()["state"] == "running", "the job runs")
    whole.kill("rag-server")
    until(lambda: whole.ask("GET", f"/v1/jobs/{job}").json()["state"] == "succeeded", "the job ends")
    repository = started.json()["repository"]["id"]
    assert whole.ask("DELETE", f"/v1/repositories/{repository}").status_code in (200, 202, 204)
