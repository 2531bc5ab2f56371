"""Every setting of rag_app. `.env.example` documents them by these names, and a test holds the two together."""

from pathlib import Path
from typing import Literal, Self

from platformdirs import user_data_path
from pydantic import Field, PositiveInt, SecretStr, field_validator, model_validator

from service_kit.settings import ServiceSettings

# What a process does: answer and index, answer only, or index only.
Role = Literal["all", "api", "indexer"]


class RagSettings(ServiceSettings):
    """Settings of the RAG server (:8000)."""

    rag_host: str = Field("127.0.0.1", description="Address to listen on.")
    rag_port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    rag_role: Role = Field(
        "all",
        description="all; api: answers and never indexes, a replica; indexer: indexes what api processes ask for.",
    )
    rag_api_key: SecretStr | None = Field(
        None,
        description="Bearer token that every caller must send. Unset: on loopback none, beyond it one in "
        "DATA_DIR/api_key, which the server makes and `code-assistant key` prints. Commands send it too.",
    )
    rag_api_key_file: Path | None = Field(
        None, description="A file that holds it, in place of RAG_API_KEY; an empty one holds none."
    )
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("code-assistant"),
        description="Folder for the manifest, the embedding cache and cloned repositories. Unset: code-assistant in "
        "the user's data folder (~/.local/share); `make run` sets it to .data in its checkout.",
    )
    rag_max_body_bytes: int = Field(1_000_000, gt=0, description="Largest request body, in bytes.")

    embedding_url: str = Field("http://127.0.0.1:8001", description="The embedding service, or any TEI server.")
    embedding_in_process: bool = Field(
        False, description="Embed in this process with llama-index-embeddings-huggingface (needs the torch extra)."
    )
    embedding_model: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2", description="SentenceTransformers model: hub name or folder."
    )
    embedding_api_key: SecretStr | None = Field(
        None,
        description="Bearer token that every request must carry, but for health and metrics (TEI: API_KEY).",
    )
    embedding_api_key_file: Path | None = Field(
        None, description="A file that holds it, in place of EMBEDDING_API_KEY; an empty one holds none."
    )
    embedding_timeout_s: float = Field(60.0, gt=0, description="Deadline of one call to the embedding service.")

    rerank_url: str = Field(
        "", description="A TEI server with a cross-encoder, which then re-ranks the first hits. Empty: none does."
    )
    rerank_api_key: SecretStr | None = Field(None, description="Bearer token for RERANK_URL.")
    rerank_api_key_file: Path | None = Field(
        None, description="A file that holds it, in place of RERANK_API_KEY; an empty one holds none."
    )
    rerank_depth: int = Field(30, ge=1, le=100, description="How many of the first hits are re-ranked.")
    rerank_timeout_s: float = Field(5.0, gt=0, description="Past it the hits are left in their order.")

    llm_url: str = Field("http://127.0.0.1:8002/v1", description="The LLM service, or any OpenAI-compatible server.")
    llm_api_key: SecretStr | None = Field(None, description="Key for LLM_URL, where LLM_KEYS_FILE or a server asks.")
    llm_api_key_file: Path | None = Field(
        None, description="A file that holds it, in place of LLM_API_KEY; an empty one holds none."
    )
    llm_model: str = Field("gpt-4o-mini", description="Model to ask for.")
    llm_timeout_s: float = Field(120.0, gt=0, description="Deadline of one answer.")
    llm_context_tokens: int = Field(16_000, gt=1000, description="Tokens that a prompt and its answer may take.")

    qdrant_host: str = Field("127.0.0.1", description="Host of Qdrant or of vector_db.")
    qdrant_port: int = Field(6333, ge=1, le=65535, description="REST port of Qdrant or of vector_db.")
    qdrant_api_key: SecretStr | None = Field(None, description="Key of Qdrant, sent to it; vector_db asks for it.")
    qdrant_api_key_file: Path | None = Field(
        None, description="A file that holds it, in place of QDRANT_API_KEY; an empty one holds none."
    )
    qdrant_timeout_s: float = Field(30.0, gt=0, description="Deadline of one call to Qdrant.")
    qdrant_shards: int | None = Field(
        None,
        ge=1,
        description="Shards of a new collection; none: Qdrant's choice, one a node. A server of Qdrant only.",
    )
    qdrant_replicas: int | None = Field(
        None, ge=1, description="Copies of each shard of a new collection, on nodes of their own."
    )
    qdrant_write_consistency: int | None = Field(
        None, ge=1, description="How many copies must have a write before it is acknowledged; at most QDRANT_REPLICAS."
    )
    qdrant_write_ordering: Literal["weak", "medium", "strong"] | None = Field(
        None, description="weak, medium or strong: who puts writes of one point in order; none: weak."
    )
    qdrant_read_consistency: Literal["majority", "quorum", "all"] | PositiveInt | None = Field(
        None, description="A number of copies, majority, quorum or all: how many must agree on what is read; none: one."
    )
    qdrant_quantization: Literal["int8", "binary"] | None = Field(
        None,
        description="int8 (a quarter of the memory) or binary (a 32nd): vectors of a new collection are searched so.",
    )
    qdrant_oversampling: float = Field(
        2.0,
        ge=1,
        description="With quantised vectors: how many times the wanted candidates are ranked by the originals.",
    )
    qdrant_vectors_on_disk: bool | None = Field(
        None,
        description="Whether a new collection reads whole vectors from disk; with quantised ones that costs little.",
    )
    qdrant_payload_on_disk: bool | None = Field(
        None, description="The same for payloads; none: Qdrant's default, true."
    )
    qdrant_hnsw_m: int | None = Field(
        None, ge=0, description="Links a vector in the graph of a new collection; none: Qdrant's 16."
    )
    collection: str = Field("code", description="Alias of the collection; its real name carries the schema version.")

    allowed_roots: str = Field(
        "", description="Folders that may be indexed, separated by ':'. Empty: your home folder."
    )
    git_allowed_hosts: str = Field("", description="host:port pairs that git may fetch from by plain http; for tests.")
    max_file_bytes: int = Field(1_000_000, gt=0, description="Files over this size are left out and counted.")
    max_query_chars: int = Field(8_000, gt=0, description="Longest query or question, in characters.")
    max_limit: int = Field(100, gt=0, description="Most hits that a search may ask for.")

    @field_validator("data_dir")
    @classmethod
    def _at_home(cls, folder: Path) -> Path:
        return folder.expanduser()  # the server and each command must mean the same one by ~

    @model_validator(mode="after")
    def _copies_suffice(self) -> Self:
        copies, wanted = self.qdrant_replicas or 1, self.qdrant_write_consistency or 1
        if wanted > copies:
            raise ValueError(
                f"QDRANT_WRITE_CONSISTENCY is {wanted}, but there are {copies} copies (QDRANT_REPLICAS): "
                "no write would ever be acknowledged"
            )
        return self

    @property
    def roots(self) -> tuple[Path, ...]:
        """The allowed roots, resolved; the home folder where none is set."""
        named = [Path(part).expanduser() for part in self.allowed_roots.split(":") if part]
        return tuple(root.resolve() for root in named or [Path.home()])
