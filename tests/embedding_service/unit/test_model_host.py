"""A model that could not be loaded is tried again."""

import asyncio
import threading
from typing import cast

import pytest

from embedding_service.backends.base import ModelError
from embedding_service.backends.load import LoadedModel
from embedding_service.features.embedding.host import ModelHost
from service_kit.errors import Unavailable

MODEL = cast(LoadedModel, object())


async def test_a_hub_that_comes_back_is_noticed() -> None:
    failures = [ModelError("the hub cannot be reached"), MemoryError()]

    def load() -> LoadedModel:
        if failures:
            raise failures.pop(0)
        return MODEL

    host = ModelHost("m", load, retry_s=0.01)
    await asyncio.wait_for(host.load(), 10)
    assert host.model() is MODEL


async def test_a_wrong_name_is_told_while_it_is_tried_again_and_ends_with_the_service() -> None:
    tries = threading.Semaphore(0)

    def load() -> LoadedModel:
        tries.release()
        raise ModelError("no model 'm'")

    host = ModelHost("m", load, retry_s=0.01)
    loading = asyncio.create_task(host.load())
    for _ in range(3):
        assert await asyncio.to_thread(tries.acquire, timeout=10)
    with pytest.raises(Unavailable, match="no model"):
        host.model()
    host.stop()
    await asyncio.wait_for(loading, 10)
