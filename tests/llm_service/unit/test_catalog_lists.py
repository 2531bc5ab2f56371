"""The lists of models: when they are read, what holds while they cannot be, and what of them is told to callers."""

import asyncio

import pytest

from llm_service.providers.catalog import FRESH_S, MISS_FRESH_S
from service_kit.errors import ServiceError, Upstream
from tests.llm_service.wire import quickest
from tests.support.backends import Clock, MemoryBackend, catalog_of, down, found, names, refusal, serving

# --- when lists are read ------------------------------------------------------------------------------------------


async def test_lists_are_read_at_the_first_request_and_then_no_more_for_half_a_minute() -> None:
    clock, a = Clock(), serving("a", "m")
    catalog = catalog_of(a, clock=clock)
    assert a.listings == 0
    for _ in range(20):
        assert await found(catalog, "m") == ["a:m"]
        clock.passes(FRESH_S / 20)
    assert a.listings == 1


async def test_many_requests_at_the_start_read_the_lists_once() -> None:
    a = serving("a", "m")
    catalog = catalog_of(a)
    await asyncio.gather(*(found(catalog, "m") for _ in range(50)))
    assert a.listings == 1


async def test_an_old_list_is_read_again_behind_the_requests_back() -> None:
    clock = Clock()
    a = MemoryBackend("a", lists=[["m"], ["m", "new"]])
    catalog = catalog_of(a, clock=clock)
    await found(catalog, "m")
    clock.passes(FRESH_S + 1)
    a.list_gate = asyncio.Event()  # the server takes its time
    assert await asyncio.wait_for(found(catalog, "m"), 20) == ["a:m"]
    assert await asyncio.wait_for(found(catalog, "m"), 20) == ["a:m"]
    await asyncio.sleep(0)
    assert a.listings == 2
    a.list_gate.set()
    await asyncio.sleep(0.01)
    assert await found(catalog, "new") == ["a:new"]


async def test_a_model_that_was_just_pulled_is_found_but_made_up_names_do_not_read_the_lists_each_time() -> None:
    clock = Clock()
    a = MemoryBackend("a", lists=[["x", "y"], ["x", "y", "pulled"]])
    catalog = catalog_of(a, clock=clock)
    for _ in range(20):
        await refusal(catalog, "pulled")
    assert a.listings == 1
    clock.passes(MISS_FRESH_S + 0.1)
    assert await found(catalog, "pulled") == ["a:pulled"]
    assert a.listings == 2


async def test_a_model_that_is_gone_is_forgotten() -> None:
    clock = Clock()
    a = MemoryBackend("a", lists=[["x", "y"], ["x"]])
    catalog = catalog_of(a, clock=clock)
    await found(catalog, "y")
    clock.passes(FRESH_S + 1)
    await found(catalog, "y")
    await asyncio.sleep(0.01)
    await refusal(catalog, "y")


async def test_a_caller_who_leaves_does_not_break_off_the_reading_for_others() -> None:
    a = serving("a", "m")
    a.list_gate = asyncio.Event()
    catalog = catalog_of(a)
    leaves, stays = (asyncio.create_task(found(catalog, "m")) for _ in range(2))
    await asyncio.sleep(0.01)
    leaves.cancel()
    a.list_gate.set()
    assert await asyncio.wait_for(stays, 20) == ["a:m"]
    assert a.listings == 1


async def test_a_server_that_hangs_delays_a_model_that_others_serve_once_and_for_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llm_service.providers.catalog.FIRST_READING_S", 0.2)

    async def second_s() -> float:
        hangs = MemoryBackend("hangs")
        hangs.list_gate = asyncio.Event()
        catalog = catalog_of((serving("a"), {"models": ("m",)}), hangs)
        now = asyncio.get_running_loop().time
        began = now()
        assert await asyncio.wait_for(found(catalog, "m"), 20) == ["a:m"]  # it hangs for ever
        assert now() - began > 0.15
        began = now()
        assert await found(catalog, "m") == ["a:m"]
        took_s = now() - began
        hangs.list_gate.set()
        await asyncio.sleep(0.01)
        assert await found(catalog, "m") == ["a:m", "hangs:m"]
        return took_s

    assert await quickest(second_s, 0.1) < 0.1


async def test_a_server_that_hangs_delays_the_list_of_the_others_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found here: each GET /v1/models took the 5 s that a server is given for its list."""
    monkeypatch.setattr("llm_service.providers.catalog.FIRST_READING_S", 0.1)
    hangs = MemoryBackend("hangs", lists=[["n"], ["o"]])
    catalog = catalog_of(serving("a", "m"), hangs)
    assert [model["id"] for model in await catalog.models()] == ["m", "n"]  # both, however long it takes
    hangs.list_gate = asyncio.Event()
    assert [model["id"] for model in await asyncio.wait_for(catalog.models(), 20)] == ["m", "n"]  # it hangs for ever
    hangs.list_gate.set()
    await asyncio.sleep(0.01)
    assert [model["id"] for model in await catalog.models()] == ["m", "o"]


async def test_a_model_that_the_operator_named_waits_for_no_list() -> None:
    hangs = MemoryBackend("hangs", lists=[["x"]])
    hangs.list_gate = asyncio.Event()
    assert await asyncio.wait_for(found(catalog_of(hangs, chosen="m"), "m"), 20) == ["hangs:m"]
    hangs.list_gate.set()


# --- failing backends ---------------------------------------------------------------------------------------------


async def test_one_failing_backend_hides_nothing_of_the_others() -> None:
    catalog = catalog_of(MemoryBackend("gone", lists=[down()]), serving("a", "m"))
    assert await names(catalog) == ["m"]
    assert await found(catalog, "m") == ["a:m"]


async def test_a_list_that_was_read_outlives_a_failure() -> None:
    a = MemoryBackend("a", lists=[["m"], down("gone")])
    catalog = catalog_of(a)
    await catalog.read()
    await catalog.read()
    assert await names(catalog) == ["m"]
    assert await found(catalog, "m") == ["a:m"]
    failure = catalog.members[0].failure
    assert failure is not None
    assert failure.message == "gone"
    a.lists = [["m"]]
    await catalog.read()
    assert catalog.members[0].failure is None


async def test_where_no_backend_answers_the_first_failure_is_told() -> None:
    catalog = catalog_of(
        MemoryBackend("a", lists=[down("a is gone")]), MemoryBackend("b", lists=[Upstream("b is odd")])
    )
    with pytest.raises(ServiceError, match="a is gone"):
        await catalog.models()


async def test_a_strange_list_is_that_backends_failure_and_told_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    catalog = catalog_of(MemoryBackend("odd", lists=[KeyError("what?")]), serving("a", "m"))
    assert await names(catalog) == ["m"]
    failure = catalog.members[0].failure
    assert isinstance(failure, Upstream)
    assert "what?" not in failure.message
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_backend_that_was_down_is_looked_at_again_soon_for_readiness() -> None:
    clock = Clock()
    a = MemoryBackend("a", lists=[down(), ["m"]])
    catalog = catalog_of(a, clock=clock)
    await catalog.read_if_old()
    await catalog.read_if_old()
    assert a.listings == 1
    clock.passes(MISS_FRESH_S + 0.1)
    await catalog.read_if_old()
    assert (a.listings, catalog.members[0].failure) == (2, None)
    clock.passes(FRESH_S - 1)
    await catalog.read_if_old()
    assert a.listings == 2
    clock.passes(2)
    await catalog.read_if_old()
    assert a.listings == 3


# --- what is told of models ---------------------------------------------------------------------------------------


VLLM = {
    "id": "qwen",
    "object": "model",
    "created": 1,
    "owned_by": "vllm",
    "root": "/home/somebody/models/qwen",
    "parent": None,
    "max_model_len": 32768,
    "permission": [{"id": "modelperm-1", "allow_sampling": True}],
}


async def test_vllms_window_is_told_and_its_folder_and_permissions_are_not() -> None:
    catalog = catalog_of((serving("a", VLLM), {"aliases": (("fast", "qwen"),)}))
    told = {"object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 32768}
    assert await catalog.models() == [{"id": "qwen", **told}, {"id": "fast", **told, "root": "qwen"}]


async def test_a_configured_model_is_told_in_the_servers_words_where_it_has_some() -> None:
    catalog = catalog_of((serving("a", VLLM), {"models": ("qwen", "other")}))
    first, second = await catalog.models()
    assert first["max_model_len"] == 32768
    assert second == {"id": "other", "object": "model", "created": 0, "owned_by": "a"}


async def test_a_model_of_several_backends_is_told_once_by_the_first_priority() -> None:
    a = (serving("a", {"id": "m", "max_model_len": 1}), {"priority": 1})
    b = (serving("b", {"id": "m", "max_model_len": 2}), {"priority": 0})
    assert await catalog_of(a, b).models() == [{"id": "m", "max_model_len": 2}]


async def test_a_list_is_told_as_it_is_now() -> None:
    a = MemoryBackend("a", lists=[["x"], ["x", "y"]])
    catalog = catalog_of(a)
    assert await names(catalog) == ["x"]
    assert await names(catalog) == ["x", "y"]
