"""What the settings say; which servers they name is in test_backends_named.py."""

from typing import Any

import pytest
from pydantic import ValidationError

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app


def settings(**given: Any) -> LlmSettings:
    return LlmSettings(_env_file=None, **given)


def test_variables_are_read_by_their_documented_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_BASE_URL", "http://localhost:11434/v1")
    monkeypatch.setenv("LLM_MODEL", "qwen2.5-coder")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    read = settings()
    assert (read.llm_base_url, read.chosen_model) == ("http://localhost:11434/v1", "qwen2.5-coder")
    assert read.openai_api_key is None


def test_the_default_model_is_not_a_choice() -> None:
    assert settings().chosen_model is None
    assert settings(llm_model="gpt-4o-mini").chosen_model == "gpt-4o-mini"


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert (settings().llm_host, settings().llm_port) == ("127.0.0.1", 8002)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://me:secret@host/v1"])
def test_a_base_url_that_cannot_be_called_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValidationError, match="LLM_BASE_URL"):
        settings(llm_base_url=url)


def test_keys_do_not_show_in_the_settings_text() -> None:
    text = repr(settings(openai_api_key="sk-openai", llm_upstream_api_key="sk-other"))
    assert "sk-openai" not in text
    assert "sk-other" not in text


def test_an_app_of_one_process_does_not_count_into_anothers_metrics() -> None:
    assert create_app(settings()) is not create_app(settings())  # a shared registry would refuse the second


def test_max_tokens_is_added_to_requests_only_where_an_operator_set_it() -> None:
    assert settings().added_max_tokens is None
    assert settings(llm_max_tokens=500).added_max_tokens == 500


def test_room_for_all_bodies_is_room_for_one() -> None:
    with pytest.raises(ValidationError, match="LLM_MAX_BODIES_BYTES"):
        settings(llm_max_bodies_bytes=1000)
