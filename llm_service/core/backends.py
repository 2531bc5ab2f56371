"""Which servers stand behind the gateway: read from one small file, from one variable, or from two simple ones."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from llm_service.core.settings import OPENAI_URL, LlmSettings, checked_base_url
from service_kit.secrets import ReadFile, checked_secret, read_file, read_secret, secret_of

# Names become labels of metrics.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

# An empty name is the default model's.
_Model = Annotated[str, Field(min_length=1)]


class BackendSpec(BaseModel):
    """One `[[backend]]` of the file. A key is named by a variable or a file, and never written here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=_NAME)
    base_url: str
    key_env: str | None = Field(None, min_length=1)
    key_file: Path | None = None
    models: tuple[_Model, ...] = ()
    aliases: dict[_Model, _Model] = Field(default_factory=dict)
    weight: float = Field(1.0, gt=0, le=1000)
    priority: int = 0
    usage_in_streams: bool = True

    @field_validator("base_url")
    @classmethod
    def _is_http_url(cls, value: str) -> str:
        return checked_base_url(value)

    @model_validator(mode="after")
    def _has_one_key(self) -> "BackendSpec":
        if self.key_env and self.key_file:
            raise ValueError("key_env and key_file are both set; keep one")
        return self


@dataclass(frozen=True, slots=True)
class Backend:
    """A server, ready to be called.

    models: what it serves; empty: what it lists itself. aliases: public name -> name there. weight: its share among
    those of one priority. priority: the lowest is asked first. key_source: what messages name where the key is refused.
    """

    name: str
    base_url: str
    key: SecretStr | None = None
    key_source: str = ""
    models: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    weight: float = 1.0
    priority: int = 0
    usage_in_streams: bool = True

    @property
    def is_openai(self) -> bool:
        """Whether this is OpenAI itself."""
        return self.base_url == OPENAI_URL


def backends_of(
    settings: LlmSettings, read: ReadFile = read_file, environment: Mapping[str, str] | None = None
) -> tuple[Backend, ...]:
    """What the settings say: LLM_PROVIDER, else LLM_BACKENDS_FILE, LLM_BACKENDS, LLM_BASE_URL, OpenAI's key, or none.

    read: reads a file, so that it can be watched. environment: where `key_env` is looked up; None: this process's.
    Fails with ValueError in words, which hold no secret.
    LLM_BASE_URL keeps OpenAI out even where its key is set: code that is meant for a server of one's own must not go
    elsewhere because that server is down.
    """
    environment = os.environ if environment is None else environment
    if settings.llm_provider:
        return (Backend(settings.llm_provider, ""),)
    if settings.llm_backends_file is not None:
        place = str(settings.llm_backends_file)
        return _from_document(_toml(read(settings.llm_backends_file), place), place, read, environment)
    if settings.llm_backends is not None:
        try:
            document = {"backend": orjson.loads(settings.llm_backends)}
        except orjson.JSONDecodeError as exc:
            raise ValueError(f"LLM_BACKENDS is not JSON: {exc}") from None
        return _from_document(document, "LLM_BACKENDS", read, environment)
    if settings.llm_base_url is not None:
        value, path = settings.llm_upstream_api_key, settings.llm_upstream_api_key_file
        return (Backend("default", settings.llm_base_url, *_key(value, path, "LLM_UPSTREAM_API_KEY", read)),)
    key, source = _key(settings.openai_api_key, settings.openai_api_key_file, "OPENAI_API_KEY", read)
    return () if key is None else (Backend("openai", OPENAI_URL, key, source),)


def _key(value: SecretStr | None, path: Path | None, setting: str, read: ReadFile) -> tuple[SecretStr | None, str]:
    """(the key, the variable that it came from, or would come from)."""
    key = secret_of(None if value is None else checked_secret(value.get_secret_value(), setting), path, setting, read)
    return key, setting if path is None or value is not None else f"{setting}_FILE"


def _toml(content: bytes, place: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as exc:
        raise ValueError(f"{place} is not UTF-8 at byte {exc.start}") from None
    except ValueError as exc:  # TOMLDecodeError, and int's own for numbers of thousands of digits
        raise ValueError(f"{place} is not TOML: {exc}") from None
    except RecursionError:
        raise ValueError(f"{place} is nested too deeply") from None


def _from_document(
    document: dict[str, Any], place: str, read: ReadFile, environment: Mapping[str, str]
) -> tuple[Backend, ...]:
    tables = document.get("backend")
    if document.keys() != {"backend"} or not isinstance(tables, list) or not tables:
        raise ValueError(f"{place}: a backend is a table [[backend]], and there must be one at least")
    specs = [_spec(table, f"{place}, backend {number}") for number, table in enumerate(tables, 1)]
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{place}: {names.count(name)} backends have the name {name!r}")
    return tuple(_backend(spec, f"{place}, backend {spec.name!r}", read, environment) for spec in specs)


def _spec(table: Any, place: str) -> BackendSpec:
    try:
        return BackendSpec.model_validate(table)
    except ValidationError as exc:
        # The value is left out: where a variable's name belongs, somebody may have put the key.
        told = "; ".join(f"{'.'.join(map(str, error['loc'])) or 'it'}: {error['msg']}" for error in exc.errors())
        raise ValueError(f"{place}: {told}") from None


def _backend(spec: BackendSpec, place: str, read: ReadFile, environment: Mapping[str, str]) -> Backend:
    key, source = None, "key_env or key_file, of which it has none"
    if spec.key_env is not None:
        value = environment.get(spec.key_env, "")
        if not value:
            raise ValueError(f"{place}: the variable that key_env names is not set or empty")
        key, source = checked_secret(value, f"{place}: the variable {spec.key_env}"), spec.key_env
    elif spec.key_file is not None:
        try:
            key, source = read_secret(spec.key_file, read), str(spec.key_file)
        except ValueError as exc:
            raise ValueError(f"{place}, key_file: {exc}") from None
    return Backend(
        name=spec.name,
        base_url=spec.base_url,
        key=key,
        key_source=source,
        models=spec.models,
        aliases=tuple(spec.aliases.items()),
        weight=spec.weight,
        priority=spec.priority,
        usage_in_streams=spec.usage_in_streams,
    )
