"""An engine that could not be started, or has ended, is followed by another."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from embedding_service.backends.base import Batch, ModelError
from embedding_service.backends.load import LoadedModel
from embedding_service.engine.base import EngineEnded
from embedding_service.features.embedding.host import EngineHost
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.scheduler import Scheduler
from service_kit.errors import Unavailable
from tests.support.engines import InProcess


@pytest.fixture
def metrics() -> TeiMetrics:
    return TeiMetrics(CollectorRegistry())


@pytest.fixture
def scheduler(metrics: TeiMetrics) -> Scheduler:
    return Scheduler(512, metrics)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


async def test_a_hub_that_comes_back_is_noticed(
    scheduler: Scheduler, metrics: TeiMetrics, onnx_model: LoadedModel
) -> None:
    failures = [ModelError("the hub cannot be reached"), MemoryError()]

    def load() -> LoadedModel:
        if failures:
            raise failures.pop(0)
        return onnx_model

    host = EngineHost("m", lambda: InProcess(load), scheduler, metrics, retry_s=0.01)
    keeping = asyncio.create_task(host.keep())
    await until(lambda: host.check().ok)
    assert host.model().ready.spec is onnx_model.spec
    await host.stop()
    await asyncio.wait_for(keeping, 30)


async def test_a_wrong_name_is_told_while_it_is_tried_again_and_ends_with_the_service(
    scheduler: Scheduler, metrics: TeiMetrics
) -> None:
    tries: list[int] = []

    def load() -> LoadedModel:
        tries.append(1)
        raise ModelError("no model 'm'")

    host = EngineHost("m", lambda: InProcess(load), scheduler, metrics, retry_s=0.01)
    keeping = asyncio.create_task(host.keep())
    await until(lambda: len(tries) >= 3)
    with pytest.raises(Unavailable, match="no model"):
        host.model()
    await host.stop()
    await asyncio.wait_for(keeping, 30)


async def test_an_engine_that_ends_is_replaced_at_once_and_the_next_ones_after_growing_pauses(
    scheduler: Scheduler, metrics: TeiMetrics, onnx_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedding_service.features.embedding.host._EARLY_S", 600)
    engines: list[InProcess] = []

    def make() -> InProcess:
        engines.append(InProcess(lambda: onnx_model))
        return engines[-1]

    host = EngineHost("m", make, scheduler, metrics, retry_s=30)
    keeping = asyncio.create_task(host.keep())
    await until(lambda: host.check().ok)
    engines[0].die("the worker was ended by SIGKILL")
    await until(lambda: len(engines) == 2 and host.check().ok)
    engines[1].die("the worker was ended by SIGKILL")  # early again: this time it waits for a second
    await until(lambda: len(engines) == 3 and host.check().ok)
    engines[2].die("the worker was ended by SIGKILL")  # and this time for three
    await until(lambda: not host.check().ok)
    assert "SIGKILL; another one is being started" in host.check().detail
    with pytest.raises(Unavailable) as refused:
        host.model()
    assert refused.value.retry_after_s == 3
    await asyncio.sleep(0.1)
    assert len(engines) == 3
    await host.stop()
    await asyncio.wait_for(keeping, 30)


async def test_the_pause_after_ends_without_number_is_the_longest_one(
    scheduler: Scheduler, metrics: TeiMetrics
) -> None:
    def load() -> LoadedModel:
        raise EngineEnded("the worker was ended by SIGKILL while it loaded the model")

    host = EngineHost("m", lambda: InProcess(load), scheduler, metrics, retry_s=30)
    assert [await host._live() for _ in range(7)] == [0, 1, 3, 7, 15, 30, 30]
    for _ in range(1_100):
        assert host._after_early_end() == 30


async def test_an_engine_whose_tokenizer_cannot_be_read_is_ended(
    scheduler: Scheduler, metrics: TeiMetrics, onnx_model: LoadedModel, tmp_path: Path
) -> None:
    engines: list[InProcess] = []
    loaded = replace(onnx_model, spec=replace(onnx_model.spec, folder=tmp_path))  # without a tokenizer.json

    def make() -> InProcess:
        engines.append(InProcess(lambda: loaded))
        return engines[-1]

    host = EngineHost("m", make, scheduler, metrics, retry_s=0.01)
    keeping = asyncio.create_task(host.keep())
    await until(lambda: len(engines) == 3)
    assert [await engine.ended() for engine in engines[:2]] == ["it was stopped"] * 2
    await host.stop()
    await asyncio.wait_for(keeping, 30)


async def test_where_no_engine_comes_after_one_that_ended_whoever_waits_is_told_why(
    scheduler: Scheduler, metrics: TeiMetrics, onnx_model: LoadedModel
) -> None:
    engines: list[InProcess] = []
    may_load = threading.Event()

    def load() -> LoadedModel:
        if len(engines) == 1:
            return onnx_model
        assert may_load.wait(20)
        raise ModelError("the disk is gone")

    def make() -> InProcess:
        engines.append(InProcess(load))
        return engines[-1]

    host = EngineHost("m", make, scheduler, metrics)
    keeping = asyncio.create_task(host.keep())
    await until(lambda: host.check().ok)
    engines[0].die("the worker was ended by SIGKILL")
    await until(lambda: len(engines) == 2)
    waiting = asyncio.create_task(scheduler.run("embed", Batch([[101, 102]])))
    await asyncio.sleep(0.05)
    may_load.set()
    with pytest.raises(Unavailable, match="the disk is gone"):
        await asyncio.wait_for(waiting, 30)
    await host.stop()
    await asyncio.wait_for(keeping, 30)


async def test_a_model_that_changed_between_two_lives_has_another_identity(
    scheduler: Scheduler, metrics: TeiMetrics, onnx_model: LoadedModel
) -> None:
    lives = [onnx_model, replace(onnx_model, spec=replace(onnx_model.spec, digest="0" * 64))]
    engines: list[InProcess] = []

    def make() -> InProcess:
        loaded = lives[len(engines)]
        engines.append(InProcess(lambda: loaded))
        return engines[-1]

    host = EngineHost("m", make, scheduler, metrics)
    keeping = asyncio.create_task(host.keep())
    await until(lambda: host.check().ok)
    first = host.model().identity
    engines[0].die("it was replaced")
    await until(lambda: len(engines) == 2 and host.check().ok)
    assert host.model().identity != first
    await host.stop()
    await asyncio.wait_for(keeping, 30)
