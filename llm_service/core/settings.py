"""Every setting of llm_service."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from service_kit.settings import ServiceSettings

OPENAI_URL = "https://api.openai.com/v1"

# What OpenAI is asked for by default, and what rag_app asks for: behind LLM_BASE_URL it stands for "your model".
DEFAULT_MODEL = "gpt-4o-mini"

NOT_CONFIGURED = (
    "no language model is configured; set OPENAI_API_KEY to use OpenAI, "
    "or LLM_BASE_URL to use vLLM, Ollama, llama.cpp or any other OpenAI-compatible server"
)


class LlmSettings(ServiceSettings):
    """Settings of the LLM gateway (:8002)."""

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
    llm_model: str = Field(DEFAULT_MODEL, min_length=1, description="Model for requests that name none.")

    llm_connect_timeout_s: float = Field(5.0, gt=0, description="Deadline of connecting to the server.")
    llm_first_byte_timeout_s: float = Field(
        120.0, gt=0, description="Deadline of a stream's first byte, retries included; Ollama loads its model in it."
    )
    llm_idle_timeout_s: float = Field(
        60.0, gt=0, description="Longest silence inside a stream, of the server or of a client that does not read."
    )
    llm_total_timeout_s: float = Field(600.0, gt=0, description="Deadline of one whole answer.")
    # A context of 128,000 tokens is about half a megabyte; the rest is room for a few pictures.
    llm_max_body_bytes: int = Field(10_000_000, gt=0, description="Largest chat request, in bytes.")

    @field_validator("llm_base_url")
    @classmethod
    def _is_http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("LLM_BASE_URL must look like http://localhost:8080/v1")
        if parts.username or parts.password:
            raise ValueError("LLM_BASE_URL must not hold a password; put the key into LLM_UPSTREAM_API_KEY")
        return value.rstrip("/")

    @property
    def is_configured(self) -> bool:
        """Whether there is a server to forward to."""
        return self.llm_base_url is not None or self.openai_api_key is not None

    @property
    def chosen_model(self) -> str | None:
        """LLM_MODEL where somebody set it, None where it is only the default."""
        return self.llm_model if "llm_model" in self.model_fields_set else None
