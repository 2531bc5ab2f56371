"""The stack's own proxy before real replicas: one dies and no search fails, streams flow, refusals are in words."""

import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest

from embedding_service.core.settings import EmbeddingSettings
from rag_app.core.settings import RagSettings
from service_kit.protocol import HEAD_TIMEOUT_S
from tests.scale.test_roles import make_repository
from tests.support.dripping_llm import DrippingLlm
from tests.support.live import free_port, live
from tests.support.nginx import CONFIG, Proxy, proxied
from tests.support.replicas import Replicas, replicas, until
from tests.support.stack import Stack, environment

APIS = ("api-1", "api-2", "api-3")
QUERY = {"query": "the lock of shelf 7", "limit": 5}


@pytest.fixture(scope="module")
def llm() -> Iterator[tuple[str, DrippingLlm]]:
    model = DrippingLlm()
    with live(model) as url:
        yield f"{url}/v1", model


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory, llm: tuple[str, DrippingLlm]) -> Iterator[Replicas]:
    with replicas(tmp_path_factory.mktemp("scaled"), LLM_URL=llm[0]) as running:
        running.start("all", "indexer")
        accepted = running.register("indexer", make_repository(running.root))
        assert running.finished("indexer", accepted["job"]["id"])["state"] == "succeeded"
        yield running


@pytest.fixture
def behind(processes: Replicas) -> Replicas:
    """Three replicas, alive."""
    processes.gate.passes = None
    processes.start("api", *(name for name in APIS if not processes.has(name)))
    return processes


@pytest.fixture
def proxy(behind: Replicas, tmp_path: Path) -> Iterator[Proxy]:
    with proxied(tmp_path / "nginx", [behind.port(name) for name in APIS], [1]) as running:
        yield running


def search(proxy: Proxy) -> httpx.Response:
    return httpx.post(f"{proxy.rag}/v1/search", json=QUERY, timeout=60)


def searched_by(proxy: Proxy) -> Counter[str]:
    """Searches by the replica that answered them."""
    lines = [line for line in proxy.lines() if line["path"] == "/v1/search" and line["status"] == "200"]
    return Counter(line["upstream"].rpartition(", ")[2].rpartition(":")[2] for line in lines)


def test_replicas_that_die_under_traffic_are_not_seen_by_who_searches_and_serve_again_when_they_are_back(
    behind: Replicas, proxy: Proxy
) -> None:
    answers: list[httpx.Response] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answers.append(search(proxy))

    def answered(more: int) -> None:
        wanted = len(answers) + more
        until(lambda: len(answers) >= wanted, f"{more} more searches")

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            until(lambda: len(searched_by(proxy)) == 3, "all three replicas answer")
            behind.kill("api-1")
            answered(30)
            behind.stack.stop("api-2")  # in good order, by SIGTERM
            answered(30)
            before = searched_by(proxy)
            behind.start("api", "api-1", "api-2")
            ports = [str(behind.port(name)) for name in ("api-1", "api-2")]
            until(lambda: all(searched_by(proxy)[port] > before[port] for port in ports), "they answer again")
        finally:
            is_over.set()
        for one in asking:
            one.result()
    assert Counter(answer.status_code for answer in answers) == {200: len(answers)}
    assert len({tuple(hit["id"] for hit in answer.json()["hits"]) for answer in answers}) == 1


def test_searches_in_the_work_of_a_replica_that_is_killed_are_done_by_another(behind: Replicas, proxy: Proxy) -> None:
    behind.gate.passes = 0
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(search, proxy) for _ in range(6)]
        until(lambda: behind.gate.held >= 6, "six searches wait for their vector")
        behind.kill("api-1")
        behind.gate.passes = None
        assert [one.result().status_code for one in asked] == [200] * 6
    until(lambda: len(proxy.lines()) == 6, "all six are logged")
    tried = [line["upstream"] for line in proxy.lines() if f":{behind.port('api-1')}" in line["upstream"]]
    assert len(tried) == 2  # least_conn: two of six were in its work
    assert all(", " in addresses for addresses in tried)  # and went on to another


def test_a_question_in_the_work_of_a_replica_that_is_killed_is_not_asked_twice(behind: Replicas, proxy: Proxy) -> None:
    behind.gate.passes = 0
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            httpx.post,
            f"{proxy.rag}/v1/ask",
            json={"question": "where is the lock taken?"},
            headers={"x-request-id": "mine-7"},
            timeout=60,
        )
        until(lambda: behind.gate.held > 0, "the question waits for its vector")
        for name in APIS:
            behind.kill(name)
        answer = asked.result()
        until(lambda: len(proxy.lines()) == 1, "it is logged")
    assert "," not in proxy.lines()[0]["upstream"]
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["x-request-id"]) == (503, "1", "mine-7")
    assert answer.json()["error"].items() >= {"code": "unavailable", "request_id": "mine-7"}.items()
    nobody = search(proxy)
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (503, "unavailable")


def test_a_stream_flows_token_by_token_and_ends_for_the_model_when_the_caller_leaves(
    proxy: Proxy, llm: tuple[str, DrippingLlm]
) -> None:
    body = {"question": "where is the lock taken?", "stream": True}
    with httpx.stream("POST", f"{proxy.rag}/v1/ask", json=body, timeout=60) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        # The model never stops: what is kept until the end, or until a buffer is full, never comes.
        drips = 0
        for line in stream.iter_lines():
            drips += "drip" in line
            if drips == 5:
                break
    until(llm[1].left.is_set, "the model's caller is gone")


def test_events_of_a_job_flow_through_any_replica(behind: Replicas, proxy: Proxy) -> None:
    listed = httpx.get(f"{proxy.rag}/v1/repositories").json()["repositories"]
    behind.gate.passes = 0
    Path(listed[0]["source"]["path"], "new.py").write_text("def quokka():\n    return 1\n")
    job = httpx.post(f"{proxy.rag}/v1/repositories/{listed[0]['id']}/sync", timeout=30).json()["job"]["id"]
    with httpx.stream("GET", f"{proxy.rag}/v1/jobs/{job}/events", timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("event: progress"):
                behind.gate.passes = None  # the job cannot end before its first event has come
            if line.startswith("event: done"):
                break
        else:
            pytest.fail("the stream ended without `done`")


def test_request_ids_pass_and_are_made_where_they_are_missing_or_odd(proxy: Proxy) -> None:
    assert httpx.get(f"{proxy.rag}/healthz", headers={"x-request-id": "mine-8"}).headers["x-request-id"] == "mine-8"
    for odd in ({}, {"x-request-id": 'a"b'}, {"x-request-id": "x" * 129}):
        made = httpx.get(f"{proxy.rag}/healthz", headers=odd).headers["x-request-id"]
        assert len(made) == 32
        until(partial(is_logged, proxy, made), f"{made} is logged")


def is_logged(proxy: Proxy, request_id: str) -> bool:
    return request_id in {line["request_id"] for line in proxy.lines()}


@pytest.mark.parametrize("over", [0, 1])
def test_a_body_is_refused_at_the_services_own_limit_in_its_own_words(proxy: Proxy, over: int) -> None:
    limit = RagSettings.model_fields["rag_max_body_bytes"].default
    body = b'{"query": "' + b"a" * (limit + over - 13) + b'"}'
    answer = httpx.post(f"{proxy.rag}/v1/search", content=body, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == ((413, "too_large") if over else (422, "validation"))
    assert error["request_id"] == answer.headers["x-request-id"]


def test_metrics_are_asked_of_each_replica_and_not_of_a_chance_one(proxy: Proxy) -> None:
    answer = httpx.get(f"{proxy.rag}/metrics")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_replica_that_does_not_answer_in_time_is_told_as_timeout(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never says a word
        shorter = {
            "proxy_read_timeout 240s;": "proxy_read_timeout 1s;",
            "proxy_read_timeout 90s;": "proxy_read_timeout 1s;",
        }
        port = silent.getsockname()[1]
        with proxied(tmp_path / "nginx", [port], [port], shorter) as proxy:
            ours = httpx.post(f"{proxy.rag}/v1/ask", json={"question": "?"}, timeout=60)
            teis = httpx.post(f"{proxy.embedding}/embed", json={"inputs": ["a"]}, timeout=60)
    assert (ours.status_code, ours.json()["error"]["code"]) == (504, "timeout")
    assert (teis.status_code, teis.json()["error_type"]) == (504, "Backend")
    assert ours.headers["x-request-id"] == ours.json()["error"]["request_id"]


def test_sizes_and_times_are_those_of_the_services() -> None:
    text = (CONFIG / "nginx.conf").read_text()
    rag, embedding = RagSettings.model_fields, EmbeddingSettings.model_fields
    assert f"client_max_body_size {rag['rag_max_body_bytes'].default};" in text
    assert f"client_max_body_size {embedding['payload_limit'].default};" in text
    # The services' own deadlines come first, so that it is their word that a caller reads.
    waits = [int(part.partition("s;")[0]) for part in text.split("proxy_read_timeout ")[1:]]
    longest = sum(rag[name].default for name in ("embedding_timeout_s", "qdrant_timeout_s", "llm_timeout_s"))
    assert waits[0] > longest
    assert waits[1] > rag["embedding_timeout_s"].default
    kept = [int(part.partition("s;")[0]) for part in text.split("        keepalive_timeout ")[1:]]
    assert kept == [20, 20]
    assert max(kept) < HEAD_TIMEOUT_S


@pytest.fixture
def models(tmp_path: Path) -> Iterator[Stack]:
    """Two embedding services of the default model, as processes; the second one is named `second`."""
    stack = Stack(tmp_path, environment(tmp_path, {}))
    try:
        stack.start("embedding_service")
        stack.wait_for("EMBEDDING_PORT")  # it writes the model's graph, which the other one reads
        first = stack.processes.pop("embedding_service")
        stack.env["SECOND_PORT"] = stack.env["EMBEDDING_PORT"]
        stack.env["EMBEDDING_PORT"] = str(free_port())
        stack.start("embedding_service")
        stack.processes["second"] = first
        stack.wait_for("EMBEDDING_PORT")
        yield stack
    finally:
        for service in list(stack.processes):
            stack.stop(service)


def test_an_embedding_server_that_is_killed_is_not_seen_by_who_asks_for_vectors(models: Stack, tmp_path: Path) -> None:
    ports = [models.env["EMBEDDING_PORT"], models.env["SECOND_PORT"]]
    with proxied(tmp_path / "nginx", [1], list(map(int, ports))) as proxy, ThreadPoolExecutor(3) as pool:
        answers: list[httpx.Response] = []
        is_over = threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                body = {"inputs": [f"take the lock of shelf {len(answers)}"] * 8}
                answers.append(httpx.post(f"{proxy.embedding}/embed", json=body, timeout=60))

        asking = [pool.submit(ask) for _ in range(3)]
        try:
            until(lambda: {line["upstream"][-len(ports[0]) :] for line in proxy.lines()} >= set(ports), "both answer")
            models.stop("second", signal.SIGKILL)
            wanted = len(answers) + 60
            until(lambda: len(answers) >= wanted, "60 more")
        finally:
            is_over.set()
        for one in asking:
            one.result()
        assert Counter(answer.status_code for answer in answers) == {200: len(answers)}
        models.stop("embedding_service", signal.SIGKILL)
        nobody = httpx.post(f"{proxy.embedding}/embed", json={"inputs": ["a"]}, timeout=60)
        assert (nobody.status_code, nobody.json()["error_type"], nobody.headers["retry-after"]) == (
            503,
            "Unhealthy",
            "1",
        )
        over = b'{"inputs": ["' + b"a" * EmbeddingSettings.model_fields["payload_limit"].default + b'"]}'
        refused = httpx.post(f"{proxy.embedding}/embed", content=over, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.json()["error_type"]) == (413, "Validation")
