"""Every setting of llm_service."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from service_kit.settings import ServiceSettings

OPENAI_URL = "https://api.openai.com/v1"

# What OpenAI is asked for by default, and what rag_app asks for: behind LLM_BASE_URL it stands for "your model".
DEFAULT_MODEL = "gpt-4o-mini"

NOT_CONFIGURED = (
    "no language model is configured; set OPENAI_API_KEY to use OpenAI, "
    "or LLM_BASE_URL to use vLLM, Ollama, llama.cpp or any other OpenAI-compatible server"
)


def checked_base_url(value: str) -> str:
    """The address of a server, without a slash at its end. Fails with ValueError in words, which do not quote it."""
    if not value.isprintable() or " " in value:
        raise ValueError("must not hold spaces or invisible characters")
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in {"http", "https"} and parts.hostname is not None and parts.port != 0
    except ValueError:  # of brackets and of ports
        is_good = False
    if not is_good:
        raise ValueError("must look like http://localhost:8080/v1")
    if parts.username or parts.password:
        raise ValueError("must not hold a password; name the key's variable or file instead")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query or a fragment: routes are put at its end")
    return value.rstrip("/")


class LlmSettings(ServiceSettings):
    """Settings of the LLM gateway (:8002)."""

    watched_secrets = frozenset({"openai_api_key", "llm_upstream_api_key"})

    llm_host: str = Field("127.0.0.1", description="Address to listen on.")
    llm_port: int = Field(8002, ge=0, le=65535, description="Port to listen on.")

    openai_api_key: SecretStr | None = Field(
        None, description="Key of OpenAI. It is sent to api.openai.com only, never to LLM_BASE_URL."
    )
    llm_base_url: str | None = Field(
        None, description="An OpenAI-compatible server, such as http://localhost:11434/v1; it goes before OpenAI."
    )
    llm_upstream_api_key: SecretStr | None = Field(
        None, description="Key of LLM_BASE_URL, where that server wants one."
    )
    openai_api_key_file: Path | None = Field(
        None, description="A file that holds it, in place of OPENAI_API_KEY; an empty one holds none."
    )
    llm_upstream_api_key_file: Path | None = Field(
        None, description="A file that holds it, in place of LLM_UPSTREAM_API_KEY; an empty one holds none."
    )
    llm_model: str = Field(DEFAULT_MODEL, min_length=1, description="Model for requests that name none.")
    llm_backends_file: Path | None = Field(
        None, description="Several servers, in a TOML file (llm_service/README.md); it goes before all of the above."
    )
    llm_backends: str | None = Field(None, description="The same in one variable: a JSON list of the file's tables.")
    llm_provider: Literal["", "scripted", "replay"] = Field(
        "", description="scripted or replay: answer by a script or a recording, for tests; it goes before all servers."
    )
    llm_script: Path | None = Field(None, description="The script; none: words derived from each request.")
    llm_record_to: Path | None = Field(None, description="Folder in which exchanges with the servers are stored.")
    llm_replay_from: Path | None = Field(None, description="Folder from which LLM_PROVIDER=replay answers.")
    llm_replay_pace: bool = Field(False, description="Answer at the recorded times, and not at once.")
    llm_keys_file: Path | None = Field(
        None, description="Keys that callers must have, made by `python -m llm_service.keys`; none: open to all."
    )

    llm_connect_timeout_s: float = Field(5.0, gt=0, description="Deadline of connecting to a server.")
    llm_first_token_timeout_s: float = Field(
        120.0, gt=0, description="Deadline of a stream's first token, retries included; Ollama loads its model in it."
    )
    llm_idle_timeout_s: float = Field(
        60.0, gt=0, description="Longest silence inside a stream, of the server or of a client that does not read."
    )
    llm_total_timeout_s: float = Field(600.0, gt=0, description="Deadline of one whole answer.")
    llm_body_timeout_s: float = Field(30.0, gt=0, description="How long a caller may take to send its request.")
    # The usual proxies and load balancers close what is silent for 60 s.
    llm_keepalive_s: float = Field(
        15.0, gt=0, description="A stream that waits for its first token gets a comment line so often."
    )

    llm_max_retries: int = Field(2, ge=0, le=20, description="Attempts after the first one, before the first byte.")
    # A thousand clients that read slowly leave room for as many others; vLLM itself queues what it cannot run.
    llm_max_concurrent_requests: int = Field(2048, gt=0, description="Most requests in work at the same time.")
    llm_max_queued_requests: int = Field(2048, ge=0, description="Most requests that wait for a place; above it, 429.")
    llm_queue_timeout_s: float = Field(10.0, gt=0, description="Longest wait for a place; after it, 429.")
    # A context of 128,000 tokens is about half a megabyte; the rest is room for a few pictures.
    llm_max_body_bytes: int = Field(10_000_000, gt=0, description="Largest request, in bytes.")
    llm_max_bodies_bytes: int = Field(
        256_000_000, gt=0, description="Most bytes of requests held at once, over all; above it, 429."
    )
    llm_max_tokens: int = Field(
        32_768,
        gt=0,
        description="A request's max_tokens is cut to it; where you set it, requests without one get it too.",
    )
    llm_max_n: int = Field(8, gt=0, description="A request's n (answers at once) is cut to it.")

    @model_validator(mode="after")
    def _has_room_for_a_body(self) -> "LlmSettings":
        if self.llm_max_bodies_bytes < self.llm_max_body_bytes:
            raise ValueError("LLM_MAX_BODIES_BYTES is less than LLM_MAX_BODY_BYTES, so that a large request never fits")
        return self

    @field_validator("llm_base_url")
    @classmethod
    def _is_http_url(cls, value: str | None) -> str | None:
        try:
            return None if value is None else checked_base_url(value)
        except ValueError as exc:
            raise ValueError(f"LLM_BASE_URL {exc}") from None

    @property
    def added_max_tokens(self) -> int | None:
        """What a request without max_tokens gets: LLM_MAX_TOKENS where somebody set it.

        The default is not added, since vLLM refuses a max_tokens that its context has no room for.
        """
        return self.llm_max_tokens if "llm_max_tokens" in self.model_fields_set else None

    @property
    def chosen_model(self) -> str | None:
        """LLM_MODEL where somebody set it, None where it is only the default."""
        return self.llm_model if "llm_model" in self.model_fields_set else None
