"""Which backend serves which name, as configured, listed or guessed; and when the lists are read."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from llm_service.core.errors import Refused
from llm_service.providers.catalog import FRESH_S, MISS_FRESH_S, Catalog, Member
from service_kit.errors import ServiceError, Unavailable, Upstream
from tests.support.backends import Clock, MemoryBackend, down

Lists = list[Sequence[str | dict[str, Any]] | Exception]


def serving(name: str, *models: str | dict[str, Any]) -> MemoryBackend:
    return MemoryBackend(name, lists=[models])


def catalog_of(
    *members: MemoryBackend | tuple[MemoryBackend, dict[str, Any]],
    chosen: str | None = None,
    clock: Clock | None = None,
) -> Catalog:
    pairs = [member if isinstance(member, tuple) else (member, {}) for member in members]
    made = [Member(backend.backend(**fields), backend) for backend, fields in pairs]
    return Catalog(made, chosen, clock or Clock())


async def found(catalog: Catalog, asked: str | None) -> list[str]:
    """backend:model there, in the order in which they are tried."""
    return [f"{target.member.backend.name}:{target.model}" for target in await catalog.find(asked)]


async def refusal(catalog: Catalog, asked: str | None) -> Refused:
    with pytest.raises(Refused) as caught:
        await catalog.find(asked)
    assert (caught.value.status, caught.value.details["code"]) == (404, "model_not_found")
    assert caught.value.details["param"] == "model"
    return caught.value


async def names(catalog: Catalog) -> list[str]:
    return [model["id"] for model in await catalog.models()]


# --- who serves what ----------------------------------------------------------------------------------------------


async def test_a_model_is_served_by_whoever_lists_it_the_lowest_priority_first() -> None:
    catalog = catalog_of(
        (serving("a", "m", "x"), {"priority": 2}), (serving("b", "m"), {"priority": 1}), serving("c", "y")
    )
    assert await found(catalog, "m") == ["b:m", "a:m"]
    assert await found(catalog, "x") == ["a:x"]


async def test_an_alias_stands_for_a_model_at_each_backend_that_has_it() -> None:
    a = (serving("a", "qwen"), {"aliases": (("fast", "qwen"),)})
    b = (serving("b", "org/qwen"), {"aliases": (("fast", "org/qwen"),)})
    catalog = catalog_of(a, b, serving("c", "fast"))
    assert await found(catalog, "fast") == ["a:qwen", "b:org/qwen", "c:fast"]
    assert [target.name for target in await catalog.find("fast")] == ["fast", "fast", "fast"]


async def test_configured_models_are_believed_and_need_no_list() -> None:
    a = MemoryBackend("a", lists=[Unavailable("down")])
    catalog = catalog_of((a, {"models": ("m",)}))
    assert await found(catalog, "m") == ["a:m"]


async def test_what_is_listed_beside_the_configured_models_is_not_served() -> None:
    catalog = catalog_of((serving("a", "m", "secret"), {"models": ("m",)}))
    await catalog.read()
    assert "secret" not in (await refusal(catalog, "secret")).message.partition("but these are")[2]
    assert await names(catalog) == ["m"]


# --- the default model --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [None, "", "gpt-4o-mini"])
@pytest.mark.parametrize(
    ("served", "aliases", "chosen", "model"),
    [
        (["only"], (), None, "only"),  # the only model there is
        (["gpt-4o-mini", "other"], (), None, "gpt-4o-mini"),  # really served
        (["a", "b"], (("gpt-4o-mini", "b"),), None, "b"),  # an alias of the configuration
        (["a", "b"], (), "b", "b"),  # LLM_MODEL
        (["a", "b"], (("mine", "b"),), "mine", "b"),  # LLM_MODEL names an alias
        (["a", "b"], (), "unlisted", "unlisted"),  # LLM_MODEL is believed
        (["only"], (("quick", "only"),), None, "only"),  # with an alias it is still the only one
    ],
)
async def test_the_default_model_stands_for_the_one_that_is_meant(
    asked: str | None, served: list[str], aliases: tuple[tuple[str, str], ...], chosen: str | None, model: str
) -> None:
    catalog = catalog_of((serving("a", *served), {"aliases": aliases}), chosen=chosen)
    assert await found(catalog, asked) == [f"a:{model}"]


async def test_a_name_that_is_really_served_is_not_turned_into_llm_model() -> None:
    catalog = catalog_of(serving("a", "gpt-4o-mini", "b"), chosen="b")
    assert await found(catalog, "gpt-4o-mini") == ["a:gpt-4o-mini"]
    assert await found(catalog, None) == ["a:b"]


@pytest.mark.parametrize("asked", [None, "gpt-4o-mini"])
async def test_of_several_models_none_is_guessed_and_the_way_out_is_told(asked: str | None) -> None:
    told = (await refusal(catalog_of(serving("a", "x", "y")), asked)).message
    assert all(word in told for word in ("`gpt-4o-mini`", "x, y", "LLM_MODEL"))


async def test_the_same_model_at_two_backends_is_the_only_one() -> None:
    assert await found(catalog_of(serving("a", "m"), serving("b", "m")), None) == ["a:m", "b:m"]


async def test_llm_model_is_not_sought_where_other_models_are_configured() -> None:
    catalog = catalog_of((serving("a"), {"models": ("x",)}), serving("b", "y"), chosen="z")
    assert await found(catalog, None) == ["b:z"]


# --- names that no list has ---------------------------------------------------------------------------------------


async def test_a_model_may_be_asked_for_without_latest_as_ollama_takes_it() -> None:
    assert await found(catalog_of(serving("a", "qwen:latest", "x")), "qwen") == ["a:qwen"]


async def test_a_suffix_goes_through_to_whoever_serves_the_model() -> None:
    assert await found(catalog_of(serving("a", "org/m", "x"), serving("b", "y")), "org/m:online") == ["a:org/m:online"]


async def test_the_suffix_of_an_alias_is_put_to_the_model_that_it_stands_for() -> None:
    catalog = catalog_of((serving("a", "org/m", "x"), {"aliases": (("fast", "org/m"),)}))
    assert await found(catalog, "fast:online") == ["a:org/m:online"]


async def test_an_alias_ending_in_latest_stands_for_its_model_without_it_too() -> None:
    catalog = catalog_of((serving("a", "org/m", "x"), {"aliases": (("fast:latest", "org/m"),)}))
    assert await found(catalog, "fast") == ["a:org/m"]


async def test_an_unknown_model_is_404_with_what_there_is() -> None:
    told = (await refusal(catalog_of(serving("a", *(f"m{n}" for n in range(12)))), "gone")).message
    assert "`gone`" in told
    assert "m9 and 2 more" in told
    assert "m10" not in told


async def test_a_long_name_is_not_repeated_whole() -> None:
    assert len((await refusal(catalog_of(serving("a", "m", "n")), "x" * 10_000)).message) < 300


async def test_a_server_that_lists_nothing_takes_any_name() -> None:
    catalog = catalog_of(serving("a", "m"), serving("silent"))
    assert await found(catalog, "whatever") == ["silent:whatever"]
    assert await found(catalog, "m") == ["a:m"]
    assert [target.is_known for target in await catalog.find("whatever")] == [False]  # no label of metrics


async def test_one_that_cannot_be_asked_may_serve_it_too() -> None:
    catalog = catalog_of(serving("a", "m"), MemoryBackend("gone", lists=[Unavailable("down")]))
    assert await found(catalog, "whatever") == ["gone:whatever"]


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
    assert await asyncio.wait_for(found(catalog, "m"), 0.5) == ["a:m"]
    assert await asyncio.wait_for(found(catalog, "m"), 0.5) == ["a:m"]
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
    assert await asyncio.wait_for(stays, 1) == ["a:m"]
    assert a.listings == 1


async def test_a_server_that_hangs_delays_a_model_that_others_serve_once_and_for_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llm_service.providers.catalog.FIRST_READING_S", 0.2)
    hangs = MemoryBackend("hangs")
    hangs.list_gate = asyncio.Event()
    catalog = catalog_of((serving("a"), {"models": ("m",)}), hangs)
    began = asyncio.get_running_loop().time()
    assert await found(catalog, "m") == ["a:m"]
    assert 0.15 < asyncio.get_running_loop().time() - began < 0.6
    assert await asyncio.wait_for(found(catalog, "m"), 0.1) == ["a:m"]
    hangs.list_gate.set()
    await asyncio.sleep(0.01)
    assert await found(catalog, "m") == ["a:m", "hangs:m"]


async def test_a_server_that_hangs_delays_the_list_of_the_others_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found here: each GET /v1/models took the 5 s that a server is given for its list."""
    monkeypatch.setattr("llm_service.providers.catalog.FIRST_READING_S", 0.1)
    hangs = MemoryBackend("hangs", lists=[["n"], ["o"]])
    catalog = catalog_of(serving("a", "m"), hangs)
    assert [model["id"] for model in await catalog.models()] == ["m", "n"]  # both, however long it takes
    hangs.list_gate = asyncio.Event()
    began = asyncio.get_running_loop().time()
    assert [model["id"] for model in await asyncio.wait_for(catalog.models(), 2)] == ["m", "n"]
    assert asyncio.get_running_loop().time() - began < 0.5
    hangs.list_gate.set()
    await asyncio.sleep(0.01)
    assert [model["id"] for model in await catalog.models()] == ["m", "o"]


async def test_a_model_that_the_operator_named_waits_for_no_list() -> None:
    hangs = MemoryBackend("hangs", lists=[["x"]])
    hangs.list_gate = asyncio.Event()
    assert await asyncio.wait_for(found(catalog_of(hangs, chosen="m"), "m"), 0.1) == ["hangs:m"]
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
