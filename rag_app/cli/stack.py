"""Which services `up` starts, on which ports, and what it tells each of the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from rag_app.cli.client import is_loopback
from rag_app.cli.processes import Service
from rag_app.core.settings import RagSettings
from rag_app.db.api_key import asks_for_key
from service_kit.settings import ServiceSettings


class StackSettings(ServiceSettings):
    """What `up` must know of the other services; their own settings have the same names."""

    embedding_port: int = Field(8001, ge=1, le=65535, description="Port of the embedding service.")
    llm_port: int = Field(8002, ge=1, le=65535, description="Port of the LLM service.")
    vector_db_dir: Path | None = Field(None, description="Folder of vector_db; DATA_DIR/vector_db where unset.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` does: the services to start, the environment for them, and the addresses where all are reached.

    asks_for_key: whether callers must show one to the server. embedding_key: what the embedding service is shown.
    """

    services: tuple[Service, ...]
    environment: Mapping[str, str]
    data_dir: Path
    url: str
    embedding_url: str
    llm_url: str
    external: tuple[str, ...]
    asks_for_key: bool = False
    embedding_key: SecretStr | None = None


def reached_host(rag: RagSettings) -> str:
    """Where rag_app is reached: on loopback if it listens on all addresses, else only where it listens."""
    return rag.rag_host if rag.rag_host not in ("0.0.0.0", "::", "localhost") else "127.0.0.1"


def own_server() -> str:
    """The address of the rag_app that the settings of this machine describe (RAG_HOST, RAG_PORT, also out of .env)."""
    rag = RagSettings()
    host = reached_host(rag)
    return f"http://{f'[{host}]' if ':' in host else host}:{rag.rag_port}"


def make_plan(rag: RagSettings, stack: StackSettings, environment: Mapping[str, str], repo: Path | None) -> Plan:
    """Decide what to start. A service whose address was set to somewhere else is used there, and not started.

    repo: a folder that shall be indexable, beside the allowed roots.
    """
    embedding_url, has_embedding = _address(rag, "embedding_url", stack.embedding_port, "")
    llm_url, has_llm = _address(rag, "llm_url", stack.llm_port, "/v1")
    has_embedding = has_embedding and not rag.embedding_in_process
    embedder = "the embedding model inside rag_app" if rag.embedding_in_process else embedding_url
    reached = reached_host(rag)
    has_qdrant = is_loopback(f"http://{rag.qdrant_host}")
    parts = (
        (has_qdrant, Service("vector_db", rag.qdrant_port, "QDRANT_PORT"), f"Qdrant at {rag.qdrant_host}"),
        (has_embedding, Service("embedding_service", stack.embedding_port, "EMBEDDING_PORT"), embedder),
        # Without a key it never is ready, by its own word, and extracts are answered without it.
        (has_llm, Service("llm_service", stack.llm_port, "LLM_PORT", "/healthz"), llm_url),
        (True, Service("rag_app", rag.rag_port, "RAG_PORT", host=reached), ""),
    )
    data_dir = rag.data_dir.expanduser().absolute()
    told = {
        "DATA_DIR": data_dir,
        "VECTOR_DB_DIR": (stack.vector_db_dir or data_dir / "vector_db").absolute(),
        "EMBEDDING_PORT": stack.embedding_port,
        "EMBEDDING_URL": embedding_url,
        "LLM_PORT": stack.llm_port,
        "LLM_URL": llm_url,
        "QDRANT_HOST": rag.qdrant_host,
        "QDRANT_PORT": rag.qdrant_port,
        "RAG_PORT": rag.rag_port,
        "ALLOWED_ROOTS": ":".join(str(root) for root in (*rag.roots, *([repo] if repo else []))),
        "PYTHONUNBUFFERED": 1,
        "SHUTDOWN_GRACE_S": 10,  # within guard.GRACE_S, after which the rest is killed
    }
    return Plan(
        services=tuple(service for is_ours, service, _ in parts if is_ours),
        environment={**environment, **{name: str(value) for name, value in told.items()}},
        data_dir=data_dir,
        url=f"http://{'localhost' if is_loopback(f'http://{reached}') else reached}:{rag.rag_port}",
        embedding_url=embedding_url,
        llm_url=llm_url,
        external=tuple(place for is_ours, _, place in parts if not is_ours),
        asks_for_key=asks_for_key(rag),
        embedding_key=rag.embedding_api_key,
    )


def _address(rag: RagSettings, field: str, port: int, suffix: str) -> tuple[str, bool]:
    """The address to use, and whether `up` starts the service: not where the user's setting points elsewhere."""
    ours = f"http://127.0.0.1:{port}{suffix}"
    if field not in rag.model_fields_set:
        return ours, True
    given: str = getattr(rag, field)
    parts = urlsplit(given)
    default_port = 443 if parts.scheme == "https" else 80
    is_ours = is_loopback(given) and (parts.port or default_port) == port
    return (ours, True) if is_ours else (given, False)
