"""Settings: environment, then .env, then the default; frozen; an empty variable is an unset one."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service_kit.settings import ServiceSettings


class ToySettings(ServiceSettings):
    toy_port: int = 1


def test_a_variable_wins_over_the_env_file_and_that_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("TOY_PORT=2\nUNKNOWN=ignored\n")
    assert ToySettings(_env_file=None).toy_port == 1
    assert ToySettings(_env_file=env_file).toy_port == 2
    monkeypatch.setenv("TOY_PORT", "3")
    assert ToySettings(_env_file=env_file).toy_port == 3


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_PORT", "")
    assert ToySettings(_env_file=None).toy_port == 1


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValidationError):
        ToySettings(_env_file=None).toy_port = 5


def test_a_log_level_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(ValidationError, match="log_level"):
        ToySettings(_env_file=None)
