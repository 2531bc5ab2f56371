"""A gateway on a real port before a real upstream."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.types import ASGIApp

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app
from tests.support.live import live
from tests.support.scripted_llm import ScriptedLlm

Start = Callable[..., str]

_SETTINGS = ("OPENAI_API_KEY", "LLM_BASE_URL", "LLM_UPSTREAM_API_KEY", "LLM_MODEL")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _SETTINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def start() -> Iterator[Start]:
    """start(upstream app or None, **settings) -> the gateway's address. All is stopped at the end."""
    with ExitStack() as stack:

        def gateway(upstream: ASGIApp | None = None, **settings: Any) -> str:
            if upstream is not None:
                settings["llm_base_url"] = stack.enter_context(live(upstream)) + "/v1"
            app = create_app(LlmSettings(_env_file=None, **settings))
            return stack.enter_context(live(app))

        yield gateway


@pytest.fixture
def llm() -> ScriptedLlm:
    return ScriptedLlm()
