"""Names before servers that list nothing, or fail to."""

from typing import Any

import pytest

from llm_service.core.settings import LlmSettings
from llm_service.features.chat.names import ModelNames
from service_kit.errors import Unavailable


class Served:
    """A provider that serves `ids`, or fails where it is None; counts how often it was asked."""

    address = "http://gpu/v1"

    def __init__(self, ids: list[str] | None):
        self.ids = ids
        self.asked = 0

    async def models(self) -> tuple[dict[str, Any], ...]:
        self.asked += 1
        if self.ids is None:
            raise Unavailable("down")
        return tuple({"id": name} for name in self.ids)

    def chat(self, body: bytes, *, is_stream: bool) -> Any:
        raise AssertionError("nobody asks")

    async def close(self) -> None: ...


def names(provider: Served, **given: Any) -> ModelNames:
    return ModelNames(provider, LlmSettings(_env_file=None, **{"llm_base_url": "http://gpu/v1", **given}))


async def test_openai_is_asked_for_what_the_caller_or_the_setting_says() -> None:
    openai = names(provider := Served([]), llm_base_url=None, openai_api_key="k", llm_model="gpt-5")
    assert [await openai.resolve(name) for name in (None, "gpt-4o-mini", "o9")] == ["gpt-5", "gpt-4o-mini", "o9"]
    assert provider.asked == 0


async def test_a_server_without_a_list_is_asked_by_the_default_name() -> None:
    assert await names(Served([])).resolve(None) == "gpt-4o-mini"


async def test_a_failing_list_matters_only_where_no_model_is_set() -> None:
    assert await names(Served(None), llm_model="qwen").resolve("gpt-4o-mini") == "qwen"
    with pytest.raises(Unavailable):
        await names(Served(None)).resolve(None)


async def test_the_list_is_asked_for_once_in_a_while_and_a_failure_is_not_kept() -> None:
    provider = Served(["m"])
    served = names(provider)
    assert [await served.resolve(None) for _ in range(3)] == ["m", "m", "m"]
    assert provider.asked == 1
    await served.served(max_age_s=0)
    assert provider.asked == 2
    failing = Served(None)
    later = names(failing)
    with pytest.raises(Unavailable):
        await later.served()
    failing.ids = ["m"]
    assert await later.resolve(None) == "m"
