"""The base of each service's settings: environment first, then `.env`, then the default that the class states."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import Field, ValidationError
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


@contextmanager
def explained() -> Iterator[None]:
    """Around what reads settings and the files that they name: ends the program in words where one of them is wrong.

    A value is never shown, since it may be a key or a password: pydantic's own text quotes it.
    """
    try:
        yield
    except ValidationError as exc:
        told = [f"{'.'.join(map(str, error['loc'])).upper()}: {error['msg']}" for error in exc.errors()]
        _end(f"{'; '.join(told)}; settings are read from the environment and from .env")
    except ValueError as exc:
        _end(str(exc))


def _end(message: str) -> None:
    print(f"cannot start: {message.removeprefix(': ')}", file=sys.stderr)  # noqa: T201
    raise SystemExit(USAGE_ERROR)
