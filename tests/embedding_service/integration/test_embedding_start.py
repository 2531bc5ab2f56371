"""From the first moment to the last: alive at once, ready when the model is there, clear when it is not."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from embedding_service.backends.base import BackendFailed
from embedding_service.backends.load import LoadedModel, load_model
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.support.engines import InProcess
from tests.support.live import free_port, live


def readiness_after_loading(url: str) -> httpx.Response:
    deadline = time.monotonic() + 60
    while "is loading" in (answer := httpx.get(f"{url}/readyz")).text:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


def test_while_the_model_loads_it_is_alive_not_ready_and_asks_callers_to_wait(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    may_finish = threading.Event()

    def load() -> LoadedModel:
        assert may_finish.wait(120)
        return onnx_model

    with live(create_app(make_settings(), make_engine=lambda: InProcess(load))) as url:
        assert httpx.get(f"{url}/healthz").status_code == 200
        ready = httpx.get(f"{url}/readyz")
        assert ready.status_code == 503
        assert "is loading" in ready.json()["checks"][0]["detail"]
        for answer in (
            httpx.get(f"{url}/health"),
            httpx.get(f"{url}/info"),
            httpx.post(f"{url}/embed", json={"inputs": "a"}),
            httpx.post(f"{url}/tokenize", json={"inputs": "a"}),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error_type"] == "Unhealthy"
        openai = httpx.post(f"{url}/v1/embeddings", json={"input": "a"})
        assert (openai.status_code, openai.json()["type"]) == (503, "Unhealthy")
        may_finish.set()
        wait_until_ready(url)
        assert httpx.post(f"{url}/embed", json={"inputs": "a"}).status_code == 200
        assert "by onnx" in httpx.get(f"{url}/readyz").json()["checks"][0]["detail"]


def test_a_model_that_cannot_be_loaded_leaves_it_alive_and_says_what_to_do(make_settings: MakeSettings) -> None:
    settings = make_settings(embedding_model="/no/such/folder")
    with live(create_app(settings)) as url:
        ready = readiness_after_loading(url)
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert ready.status_code == 503
        assert ready.json()["checks"][0]["detail"] == (
            "EMBEDDING_MODEL is '/no/such/folder', and there is no such folder"
        )
        refused = httpx.post(f"{url}/embed", json={"inputs": "a"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert "no such folder" in refused.json()["error"]


def test_an_unforeseen_failure_to_load_does_not_show_its_text(make_settings: MakeSettings) -> None:
    def load() -> LoadedModel:
        raise MemoryError("secret detail")

    with live(create_app(make_settings(), make_engine=lambda: InProcess(load))) as url:
        ready = readiness_after_loading(url)
        assert ready.status_code == 503
        assert "MemoryError" in ready.text
        assert "secret detail" not in ready.text


def test_more_texts_than_the_limit_in_work_are_refused_with_429(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    entered, may_finish = threading.Event(), threading.Event()

    class Slow:
        name, dim, tasks = "onnx", 384, frozenset({"embed"})

        def run(self, task: Any, batch: Any) -> Any:
            entered.set()
            assert may_finish.wait(120)
            return onnx_model.backend.run(task, batch)

    model = LoadedModel(onnx_model.spec, onnx_model.tokenizer, Slow(), 1)
    settings = make_settings(max_concurrent_requests=3, max_client_batch_size=3)
    with live(create_app(settings, make_engine=lambda: InProcess(lambda: model))) as url:
        wait_until_ready(url)
        answers: list[httpx.Response] = []
        first = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/embed", json={"inputs": ["a", "b"]}, timeout=60))
        )
        first.start()
        assert entered.wait(60)
        refused = httpx.post(f"{url}/embed", json={"inputs": ["c", "d"]})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error_type"] == "Overloaded"
        assert "MAX_CONCURRENT_REQUESTS" in refused.json()["error"]
        may_finish.set()
        first.join()
        assert answers[0].status_code == 200
        assert httpx.post(f"{url}/embed", json={"inputs": ["c", "d"]}).status_code == 200  # the place is free again


def test_a_client_that_leaves_takes_its_work_with_it(make_settings: MakeSettings, onnx_model: LoadedModel) -> None:
    entered, may_finish = threading.Event(), threading.Event()
    batches: list[int] = []

    class Slow:
        name, dim, tasks = "onnx", 384, frozenset({"embed"})

        def run(self, task: Any, batch: Any) -> Any:
            batches.append(len(batch.ids))
            entered.set()
            assert may_finish.wait(120)
            return onnx_model.backend.run(task, batch)

    model = LoadedModel(onnx_model.spec, onnx_model.tokenizer, Slow(), 1)
    with live(create_app(make_settings(max_batch_tokens=8), make_engine=lambda: InProcess(lambda: model))) as url:
        wait_until_ready(url)
        at = httpx.URL(url)
        leaver = http.client.HTTPConnection(at.host, at.port)
        leaver.request("POST", "/embed", json.dumps({"inputs": ["a long enough text"] * 50}))
        assert entered.wait(60)
        leaver.close()
        deadline = time.monotonic() + 60
        while 'te_request_failure{err="dropped"} 1.0' not in httpx.get(f"{url}/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        may_finish.set()
        assert httpx.post(f"{url}/embed", json={"inputs": "a"}).status_code == 200
        time.sleep(0.1)
        assert batches == [1, 1]  # of the 50, the one that ran when its caller left


def test_while_a_worker_that_ended_is_replaced_callers_are_told_to_come_again_and_then_served(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    may_load = threading.Event()
    may_load.set()
    engines: list[InProcess] = []

    def load() -> LoadedModel:
        assert may_load.wait(120)
        return onnx_model

    def make() -> InProcess:
        engines.append(InProcess(load))
        return engines[-1]

    with live(create_app(make_settings(), make_engine=make)) as url:
        wait_until_ready(url)
        may_load.clear()
        engines[0].die("the worker was ended by SIGKILL")
        deadline = time.monotonic() + 60
        while (ready := httpx.get(f"{url}/readyz")).status_code == 200:
            assert time.monotonic() < deadline
        assert "the worker was ended by SIGKILL; another one is being started" in ready.text
        assert httpx.get(f"{url}/healthz").status_code == 200
        refused = httpx.post(f"{url}/embed", json={"inputs": "a"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error_type"] == "Unhealthy"
        may_load.set()
        wait_until_ready(url)
        assert httpx.post(f"{url}/embed", json={"inputs": "a"}).status_code == 200


def test_a_backend_that_fails_is_424_and_the_next_request_is_served(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    spec = replace(onnx_model.spec, config={**onnx_model.spec.config, "vocab_size": 40_000})  # not what it has
    model = LoadedModel(spec, onnx_model.tokenizer, onnx_model.backend, 1)
    with live(create_app(make_settings(), make_engine=lambda: InProcess(lambda: model))) as url:
        wait_until_ready(url)
        failed = httpx.post(f"{url}/embed", json={"inputs": [[101, 39_999, 102]]})
        assert (failed.status_code, failed.json()["error_type"]) == (424, "Backend")
        assert httpx.post(f"{url}/embed", json={"inputs": "a"}).status_code == 200


def test_it_starts_by_python_dash_m_without_torch_and_ends_by_sigterm(data_dir: Path, tmp_path: Path) -> None:
    port = free_port()
    # A module named torch that cannot be imported: with the default model nothing may ask for it.
    (tmp_path / "torch.py").write_text("raise ImportError('torch is not to be imported')")
    (tmp_path / "sentence_transformers.py").write_text("raise ImportError('nor this')")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())]),
        "EMBEDDING_PORT": str(port),
        "DATA_DIR": str(data_dir),
        "EMBEDDING_BACKEND": "auto",
        "HF_HUB_OFFLINE": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "embedding_service"], env=environment, stderr=subprocess.PIPE, cwd=tmp_path, text=True
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.ConnectError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert len(httpx.post(f"{url}/embed", json={"inputs": "a"}).json()[0]) == 384
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    finally:
        process.kill()
    assert '"backend":"onnx"' in log
    assert process.returncode in (0, -signal.SIGTERM)


def test_permits_come_back_when_a_request_fails(make_settings: MakeSettings, onnx_model: LoadedModel) -> None:
    class Broken:
        name, dim, tasks = "onnx", 384, frozenset({"embed"})

        def run(self, task: Any, batch: Any) -> Any:
            raise BackendFailed("broken")

    model = LoadedModel(onnx_model.spec, onnx_model.tokenizer, Broken(), 1)
    settings = make_settings(max_concurrent_requests=3, max_client_batch_size=3)
    with live(create_app(settings, make_engine=lambda: InProcess(lambda: model))) as url:
        wait_until_ready(url)
        statuses = [httpx.post(f"{url}/embed", json={"inputs": ["a", "b"]}).status_code for _ in range(4)]
    assert statuses == [424] * 4


def test_a_text_that_comes_again_is_not_computed_again(make_settings: MakeSettings, onnx_model: LoadedModel) -> None:
    computed: list[int] = []

    class Counting:
        name, dim, tasks = "onnx", 384, frozenset({"embed"})

        def run(self, task: Any, batch: Any) -> Any:
            computed.append(len(batch.ids))
            return onnx_model.backend.run(task, batch)

    model = LoadedModel(onnx_model.spec, onnx_model.tokenizer, Counting(), 1)
    with live(create_app(make_settings(), make_engine=lambda: InProcess(lambda: model))) as url:
        wait_until_ready(url)
        first = httpx.post(f"{url}/embed", json={"inputs": ["the lock", "the pool", "the lock"]}).json()
        raw = httpx.post(f"{url}/embed", json={"inputs": ["the pool", "the door"], "normalize": False}).json()
        metrics = httpx.get(f"{url}/metrics").text
    assert computed == [2, 1]  # the lock and the pool once each, then the door
    assert first[0] == first[2]
    np.testing.assert_allclose(np.array(raw[0]) / np.linalg.norm(raw[0]), first[1], atol=1e-6)
    assert "embedding_cache_hits_total 1.0" in metrics
    assert "embedding_cache_misses_total 3.0" in metrics


def test_a_graph_stays_where_there_is_no_memory_to_load_it(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(data_dir=tmp_path)
    load_model(settings)
    (graph,) = (tmp_path / "onnx").glob("*/model.onnx")

    def no_memory(_: Path) -> None:
        raise MemoryError

    monkeypatch.setattr("embedding_service.backends.onnx_runtime._session", no_memory)
    with pytest.raises(MemoryError):
        load_model(settings)
    assert graph.exists()
