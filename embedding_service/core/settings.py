"""Every setting of the embedding service. Where text-embeddings-inference (TEI) has the setting, it has TEI's name."""

from pathlib import Path
from typing import Literal, Self

from platformdirs import user_data_path
from pydantic import Field, SecretStr, model_validator

from service_kit.settings import ServiceSettings

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

BackendName = Literal["auto", "onnx", "sentence_transformers", "static"]
Dtype = Literal["float32", "float16", "bfloat16", "int8"]


class EmbeddingSettings(ServiceSettings):
    """Settings of the embedding service (:8001)."""

    embedding_host: str = Field("127.0.0.1", description="Address to listen on.")
    embedding_port: int = Field(8001, ge=0, le=65535, description="Port to listen on.")
    embedding_model: str = Field(DEFAULT_MODEL, description="SentenceTransformers model: hub name or folder.")
    embedding_backend: BackendName = Field(
        "auto",
        description="onnx (no torch), sentence_transformers (torch extra), auto: onnx where it can; static: a table "
        "distilled from the model, far faster and far weaker.",
    )
    dtype: Dtype = Field(
        "float32",
        description="float32; int8: onnx only, twice as fast, vectors nearly the same, see /info; float16, bfloat16: "
        "sentence_transformers only, for a GPU.",
    )
    embedding_threads: int = Field(0, ge=0, description="Batches in work at the same time; 0: one a core.")
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("code-assistant"),
        description="Folder for what is made of a model once: its ONNX graph, its static table.",
    )
    # TEI's default is 32. An indexer sends thousands of chunks: 256 of 1,000 characters are 256 KB and 2 to 3 s of two
    # cores, so that a round trip is nothing beside the work and an answer still comes well before any deadline.
    max_client_batch_size: int = Field(256, gt=0, description="Most texts that one request may hold.")
    # As in TEI each text of a request counts as one, and the default is 16 full requests (TEI: 512 = 16 x 32).
    max_concurrent_requests: int = Field(
        4096, gt=0, description="Most texts in work or waiting, over all requests; above it a request gets 429."
    )
    # TEI has 16384, for a GPU. On a core ONNX Runtime is at its best at 512 (texts a CPU-second with
    # 256: 42.6, 512: 44.4, 1,024: 40): what a batch writes between two operators still fits the cache.
    max_batch_tokens: int = Field(512, gt=0, description="Most tokens, padding included, that one batch holds.")
    # 12,500 vectors of 384 components, with texts of 180 tokens: 2.5 kB each.
    embedding_cache_bytes: int = Field(
        32_000_000, ge=0, description="Bytes of recent vectors to keep, so that a text that comes again costs nothing."
    )
    auto_truncate: bool = Field(True, description="Cut texts over the model's window where the request says nothing.")
    payload_limit: int = Field(2_000_000, gt=0, description="Largest request body, in bytes.")

    pooling: Literal["splade"] | None = Field(
        None, description="splade: use a masked language model as SPLADE, where its folder does not say so."
    )
    default_prompt_name: str | None = Field(
        None, description="Prompt of the model, by its name, put before texts of requests that name none."
    )
    default_prompt: str | None = Field(None, description="The same by its text; one of the two at most.")
    task: str | None = Field(
        None, description="sentence-similarity: POST / answers similarities instead of vectors, for InferenceClient."
    )
    embedding_api_key: SecretStr | None = Field(
        None, description="Bearer token that every request must carry, but for health and metrics (TEI: API_KEY)."
    )
    embedding_api_key_file: Path | None = Field(
        None, description="A file that holds it, in place of EMBEDDING_API_KEY; an empty one holds none."
    )

    @model_validator(mode="after")
    def _one_default_prompt(self) -> Self:
        if self.default_prompt is not None and self.default_prompt_name is not None:
            raise ValueError("set DEFAULT_PROMPT or DEFAULT_PROMPT_NAME, not both")
        return self

    @model_validator(mode="after")
    def _one_full_request_fits(self) -> Self:
        if self.max_client_batch_size > self.max_concurrent_requests:
            raise ValueError(
                f"MAX_CLIENT_BATCH_SIZE ({self.max_client_batch_size}) is over MAX_CONCURRENT_REQUESTS "
                f"({self.max_concurrent_requests}): a full request could never be served"
            )
        return self
