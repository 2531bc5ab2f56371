"""`.env.example` documents every setting by its name and its true default, and nothing that does not exist."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from embedding_service.core.settings import EmbeddingSettings
from llm_service.core.settings import LlmSettings
from rag_app.core.settings import RagSettings
from vector_db.core.settings import VectorDbSettings

ROOT = Path(__file__).resolve().parents[2]
CLASSES: list[type[BaseSettings]] = [RagSettings, EmbeddingSettings, LlmSettings, VectorDbSettings]
LINE = re.compile(r"^#([A-Z][A-Z0-9_]+)=(.*)$")

INTERPOLATED = re.compile(r"(?<!\$)\$\{([A-Z][A-Z0-9_]+)(?::?[-?]([^}]*))?\}")

# Defaults that depend on the machine are told in words, not as a value.
MACHINE_DEPENDENT = {"DATA_DIR", "VECTOR_DB_DIR"}


def documented() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    return {match[1]: match[2] for line in lines if (match := LINE.match(line))}


def as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def of_compose() -> dict[str, str]:
    """What the Compose files take from the environment, with the default that they give it."""
    files = [
        *ROOT.glob("docker-compose*.yml"),
        *ROOT.glob("*/docker-compose.yml"),
        *ROOT.glob("tests/*/docker-compose.yml"),
    ]
    return {name: default for file in files for name, default in INTERPOLATED.findall(file.read_text("utf-8"))}


def test_every_variable_is_documented_and_no_other() -> None:
    known = {name.upper() for settings in CLASSES for name in settings.model_fields}
    assert set(documented()) == known | of_compose().keys()


def test_what_only_compose_reads_is_documented_with_its_default() -> None:
    ours = {name.upper() for settings in CLASSES for name in settings.model_fields}
    told = documented()
    assert {name: told[name] for name in of_compose() if name not in ours} == {
        name: default for name, default in of_compose().items() if name not in ours
    }


@pytest.mark.parametrize("settings", CLASSES, ids=lambda settings: settings.__name__)
def test_every_documented_default_is_the_real_one(settings: type[BaseSettings]) -> None:
    told = documented()
    for name, field in settings.model_fields.items():
        if name.upper() not in MACHINE_DEPENDENT:
            assert told[name.upper()] == as_text(field.get_default(call_default_factory=True)), name


@pytest.mark.parametrize("settings", CLASSES, ids=lambda settings: settings.__name__)
def test_every_setting_says_what_it_is_for(settings: type[BaseSettings]) -> None:
    assert [name for name, field in settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("settings", CLASSES, ids=lambda settings: settings.__name__)
def test_two_services_never_disagree_on_a_default_of_the_same_name(settings: type[BaseSettings]) -> None:
    for other in CLASSES:
        for name in settings.model_fields.keys() & other.model_fields.keys():
            mine, theirs = settings.model_fields[name], other.model_fields[name]
            assert mine.get_default(call_default_factory=True) == theirs.get_default(call_default_factory=True), name


def test_the_names_that_users_know_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OPENAI_API_KEY": "k",
        "EMBEDDING_MODEL": "m",
        "QDRANT_HOST": "h",
        "QDRANT_PORT": "7",
    }.items():
        monkeypatch.setenv(name, value)
    key = LlmSettings(_env_file=None).openai_api_key
    assert key is not None
    assert key.get_secret_value() == "k"
    assert EmbeddingSettings(_env_file=None).embedding_model == "m"
    rag = RagSettings(_env_file=None)
    assert (rag.qdrant_host, rag.qdrant_port) == ("h", 7)
