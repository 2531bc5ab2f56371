"""The base of each service's settings: environment first, then `.env`, then the default that the class states."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from service_kit.secrets import secret_of

# Exit code for a mistake in how the program was started, as for a wrong command line.
USAGE_ERROR = 2

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class ServiceSettings(BaseSettings):
    """Frozen settings; a field `embedding_port` is the variable EMBEDDING_PORT. An empty variable counts as unset.

    Beside each secret stands a field `<name>_file`: a file that holds it, in place of the variable (secrets.py).
    """

    model_config = SettingsConfigDict(
        frozen=True,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # what is wrong may be a key that stands in the wrong variable
    )

    # Secrets whose files the service reads itself, again and again as they change.
    watched_secrets: ClassVar[frozenset[str]] = frozenset()

    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    allowed_hosts: str = Field(
        "",
        description="Names by which browsers and proxies may call the services, separated by commas; '*': any.",
    )
    shutdown_grace_s: int = Field(10, gt=0, description="How long requests in work may take to end after SIGTERM.")

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, given: dict[str, Any]) -> dict[str, Any]:
        ours = [name for name in secrets_of(cls) - cls.watched_secrets if given.get(f"{name}_file")]
        read = {name: _secret(given, name) for name in ours}
        return {**given, **{name: secret for name, secret in read.items() if secret is not None}}


def secrets_of(settings: type[BaseSettings]) -> frozenset[str]:
    """The names of the fields that hold a secret."""
    annotations = {name: field.annotation for name, field in settings.model_fields.items()}
    return frozenset(name for name, kind in annotations.items() if SecretStr in (kind, *get_args(kind)))


def _secret(given: dict[str, Any], name: str) -> SecretStr | None:
    value = given.get(name)
    if isinstance(value, str):
        value = SecretStr(value)
    return secret_of(value, Path(given[f"{name}_file"]), name.upper())


@contextmanager
def explained(program: str) -> Iterator[None]:
    """Around what reads settings and the files that they name: ends the program in words where one of them is wrong.

    A value is never shown, since it may be a key or a password: pydantic's own text quotes it.
    """
    try:
        yield
    except ValidationError as exc:
        told = "; ".join(_told(error) for error in exc.errors())
        _end(program, f"{told}; settings are read from the environment and from .env")
    except ValueError as exc:
        _end(program, str(exc))
    except PermissionError as exc:
        # A container's user may not read a .env that is for its owner only; Compose has told it what is in it.
        _end(program, f"cannot read {exc.filename}: {exc.strerror}; let this user (uid {os.getuid()}) read it")


def _told(error: ErrorDetails) -> str:
    # A check of the whole has no place, and names the settings itself.
    place = "".join(f"{part}: " for part in error["loc"]).upper()
    return place + error["msg"].removeprefix("Value error, ")


def _end(program: str, message: str) -> None:
    print(f"{program} cannot start: {message}", file=sys.stderr)  # noqa: T201
    raise SystemExit(USAGE_ERROR)
