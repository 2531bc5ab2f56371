"""The base of each service's settings: environment first, then `.env`, then the default that the class states."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

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
