"""Every setting of vector_db. `.env.example` documents them by these names, and a test holds the two together."""

from pathlib import Path

from platformdirs import user_data_path
from pydantic import Field, SecretStr

from service_kit.settings import ServiceSettings


class VectorDbSettings(ServiceSettings):
    """Settings of the vector database (:6333)."""

    qdrant_host: str = Field("127.0.0.1", description="Address to listen on; callers reach Qdrant by the same name.")
    qdrant_port: int = Field(6333, ge=0, le=65535, description="REST port of Qdrant or of vector_db.")
    qdrant_api_key: SecretStr | None = Field(None, description="Key of Qdrant, sent to it; vector_db asks for it.")
    qdrant_api_key_file: Path | None = Field(
        None, description="A file that holds it, in place of QDRANT_API_KEY; an empty one holds none."
    )
    vector_db_dir: Path = Field(
        default_factory=lambda: user_data_path("code-assistant") / "vector_db",
        description="Folder that holds the collections of vector_db.",
    )
    vector_db_max_body_bytes: int = Field(32_000_000, gt=0, description="Largest request body, in bytes.")
