"""A secret from a file, in every service by the same rules: `<NAME>_FILE` beside `<NAME>`."""

import os
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError

from embedding_service.core.settings import EmbeddingSettings
from llm_service.core.backends import backends_of
from llm_service.core.settings import LlmSettings
from rag_app.core.settings import RagSettings
from service_kit.settings import ServiceSettings, explained, secrets_of
from vector_db.core.settings import VectorDbSettings

SERVICES: list[type[ServiceSettings]] = [RagSettings, EmbeddingSettings, LlmSettings, VectorDbSettings]

PLANTED = "sk-planted-7391"


class ToySettings(ServiceSettings):
    toy_key: SecretStr | None = Field(None, description="A key.")
    toy_key_file: Path | None = Field(None, description="A file that holds it.")


def file(folder: Path, text: str) -> Path:
    path = folder / "secret"
    path.write_text(text)
    return path


def key_of(settings: ToySettings) -> str | None:
    return None if settings.toy_key is None else settings.toy_key.get_secret_value()


@pytest.mark.parametrize("text", [PLANTED, f"{PLANTED}\n", f"{PLANTED}\r\n"])
def test_a_secret_is_read_from_the_file_that_a_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("TOY_KEY_FILE", str(file(tmp_path, text)))
    assert key_of(ToySettings(_env_file=None)) == PLANTED


def test_a_secret_is_read_from_the_file_that_an_env_file_names(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"TOY_KEY_FILE={file(tmp_path, PLANTED)}\n")
    assert key_of(ToySettings(_env_file=tmp_path / ".env")) == PLANTED


@pytest.mark.parametrize("text", ["", "\n", "\r\n"])
def test_an_empty_file_holds_no_secret(tmp_path: Path, text: str) -> None:
    assert key_of(ToySettings(_env_file=None, toy_key_file=file(tmp_path, text))) is None


def test_beside_an_empty_file_the_variable_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", PLANTED)
    assert key_of(ToySettings(_env_file=None, toy_key_file=file(tmp_path, ""))) == PLANTED


def test_an_empty_variable_names_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY_FILE", "")
    assert key_of(ToySettings(_env_file=None)) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "TOY_KEY_FILE: cannot read {path}: No such file or directory"),
        ("folder", "TOY_KEY_FILE: cannot read {path}"),
        (f"{PLANTED} {PLANTED}", "TOY_KEY_FILE: {path} holds more than one line, spaces"),
        (f"{PLANTED}\n{PLANTED}\n", "TOY_KEY_FILE: {path} holds more than one line"),
        (PLANTED * 1000, "TOY_KEY_FILE: {path} has 15000 bytes, and a secret at most 10000"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_program_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str | None, words: str
) -> None:
    path = tmp_path / "secret"
    if text == "folder":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
    monkeypatch.setenv("TOY_KEY_FILE", str(path))
    assert told(capsys).startswith("toy cannot start: " + words.format(path=path))


def test_a_file_of_another_user_is_told_with_the_user_who_cannot_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file(tmp_path, PLANTED)
    path.chmod(0)
    monkeypatch.setenv("TOY_KEY_FILE", str(path))
    own = os.geteuid()
    user = own or 10001  # root reads every file, and can be another for a moment
    os.seteuid(user)
    try:
        said = told(capsys)
    finally:
        os.seteuid(own)
    assert f"TOY_KEY_FILE: cannot read {path}: Permission denied for user {user}" in said


def test_a_secret_in_both_places_ends_the_program_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_KEY", f"{PLANTED}-too")
    monkeypatch.setenv("TOY_KEY_FILE", str(file(tmp_path, PLANTED)))
    assert "TOY_KEY and TOY_KEY_FILE are both set; keep one" in told(capsys)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What is said where the settings are wrong; never the secret."""
    with pytest.raises(SystemExit) as ended, explained("toy"):
        ToySettings(_env_file=None)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert PLANTED not in said
    assert "Traceback" not in said
    return said


def test_neither_settings_nor_their_faults_show_a_secret(tmp_path: Path) -> None:
    settings = ToySettings(_env_file=None, toy_key_file=file(tmp_path, PLANTED))
    assert PLANTED not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    with pytest.raises(ValidationError) as failed:
        ToySettings(_env_file=None, toy_key=f"{PLANTED}-too", toy_key_file=file(tmp_path, PLANTED))
    assert PLANTED not in str(failed.value)


@pytest.mark.parametrize("settings", SERVICES, ids=lambda settings: settings.__name__)
def test_every_secret_of_every_service_may_stand_in_a_file(settings: type[ServiceSettings], tmp_path: Path) -> None:
    path = file(tmp_path, PLANTED)
    names = secrets_of(settings)
    assert names
    for name in names:
        assert f"{name}_file" in settings.model_fields, name
        read = settings(_env_file=None, **{f"{name}_file": path})
        if name not in settings.watched_secrets:
            assert getattr(read, name).get_secret_value() == PLANTED
        assert PLANTED not in repr(read)


@pytest.mark.parametrize(
    ("name", "given"),
    [("openai_api_key", {}), ("llm_upstream_api_key", {"llm_base_url": "http://127.0.0.1:1/v1"})],
)
def test_the_gateway_reads_its_secrets_by_the_same_rules(name: str, given: dict[str, str], tmp_path: Path) -> None:
    def key(**more: object) -> str | None:
        found = backends_of(LlmSettings(_env_file=None, **given, **more))
        return found[0].key.get_secret_value() if found and found[0].key else None

    assert name in LlmSettings.watched_secrets
    assert key(**{f"{name}_file": file(tmp_path, PLANTED)}) == PLANTED
    assert key(**{f"{name}_file": file(tmp_path, "")}) is None
    assert key(**{f"{name}_file": file(tmp_path, ""), name: PLANTED}) == PLANTED
    with pytest.raises(ValueError, match=f"{name.upper()} and {name.upper()}_FILE are both set; keep one"):
        key(**{f"{name}_file": file(tmp_path, PLANTED), name: PLANTED})
    with pytest.raises(ValueError, match=f"{name.upper()}_FILE: cannot read .*nowhere: No such file"):
        key(**{f"{name}_file": tmp_path / "nowhere"})
