"""Settings: environment, then .env, then the default; frozen; an empty variable is an unset one."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service_kit.settings import USAGE_ERROR, ServiceSettings, explained


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


@pytest.mark.parametrize("wrong", [{"port": "http://me:secret@host"}, {"port": None}])
def test_a_wrong_setting_ends_the_program_in_words_that_do_not_quote_it(
    wrong: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    class Settings(ServiceSettings):
        port: int = 1

    with pytest.raises(SystemExit) as ended, explained("toy"):
        Settings(_env_file=None, **wrong)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "PORT: Input should be a valid integer" in said
    assert "secret" not in said
    assert "Traceback" not in said


def test_a_wrong_file_ends_the_program_in_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), explained("toy"):
        raise ValueError("keys.toml is not TOML")
    assert capsys.readouterr().err == "toy cannot start: keys.toml is not TOML\n"


def test_an_env_file_that_may_not_be_read_ends_the_program_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, explained("service"):
        raise PermissionError(13, "Permission denied", ".env")  # as python-dotenv does; root may read everything
    assert ended.value.code == USAGE_ERROR
    assert "service cannot start: cannot read .env: Permission denied; let this user" in capsys.readouterr().err
