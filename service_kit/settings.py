"""The base of each service's settings: environment first, then `.env`, then the default that the class states."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

# Exit code for a mistake in how the program was started, as for a wrong command line.
USAGE_ERROR = 2

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class ServiceSettings(BaseSettings):
    """Frozen settings; a field `embedding_port` is the variable EMBEDDING_PORT. An empty variable counts as unset."""

    model_config = SettingsConfigDict(
        frozen=True, env_file=".env", env_ignore_empty=True, extra="ignore", populate_by_name=True
    )

    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    allowed_hosts: str = Field(
        "",
        description="Names by which browsers and proxies may call the services, separated by commas; '*': any.",
    )
    shutdown_grace_s: int = Field(10, gt=0, description="How long requests in work may take to end after SIGTERM.")


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


def _told(error: ErrorDetails) -> str:
    # A check of the whole has no place, and names the settings itself.
    place = "".join(f"{part}: " for part in error["loc"]).upper()
    return place + error["msg"].removeprefix("Value error, ")


def _end(program: str, message: str) -> None:
    print(f"{program} cannot start: {message}", file=sys.stderr)  # noqa: T201
    raise SystemExit(USAGE_ERROR)
