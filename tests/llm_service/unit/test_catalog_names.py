"""Which backend serves which name, as configured, listed or guessed."""

import pytest

from service_kit.errors import Unavailable
from tests.support.backends import MemoryBackend, catalog_of, found, names, refusal, serving

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
