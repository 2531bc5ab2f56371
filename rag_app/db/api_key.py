"""The key of the RAG server: the one that its settings tell, or one that it makes where others can reach it."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from pydantic import SecretStr

from rag_app.core.settings import RagSettings
from service_kit.browsers import is_loopback
from service_kit.secrets import read_secret

# It tells people and secret scanners what the text is.
KEY_PREFIX = "ca-"


def asks_for_key(settings: RagSettings) -> bool:
    """Must callers show a key? Not where only this machine's own programs reach the server, unless one is told."""
    return settings.rag_api_key is not None or not is_loopback(settings.rag_host)


def asked_key(settings: RagSettings) -> SecretStr | None:
    """The key that callers must show; None: none.

    Where none is told and the server listens beyond loopback, a key is made once and kept in DATA_DIR, so that several
    replicas on one volume ask for the same. Fails with ValueError in words where it can be neither read nor made.
    """
    if settings.rag_api_key is not None or not asks_for_key(settings):
        return settings.rag_api_key
    path = key_path(settings)
    try:
        _make_once(path)
    except OSError as exc:
        raise ValueError(
            f"RAG_HOST is {settings.rag_host}, so that callers must show a key, and none can be made in {path}: "
            f"{exc.strerror or exc}; set RAG_API_KEY or RAG_API_KEY_FILE"
        ) from exc
    return read_secret(path)


def known_key(settings: RagSettings) -> SecretStr | None:
    """The key of a server with these settings, as far as it can be read here; it is never made.

    Fails with ValueError in words where there is a file that cannot be read.
    """
    path = key_path(settings)
    if settings.rag_api_key is not None or not path.exists():
        return settings.rag_api_key
    return read_secret(path)


def key_path(settings: RagSettings) -> Path:
    """Where a key that the server has made is kept."""
    return settings.data_dir.expanduser() / "api_key"


def _make_once(path: Path) -> None:
    """Put a new key there unless there is one: whole and for its owner alone before anybody sees it."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".api_key.", dir=path.parent)  # with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{KEY_PREFIX}{secrets.token_urlsafe(32)}\n")
            file.flush()
            os.fsync(file.fileno())
        # A link is made once: of two replicas that start together, the second gets the first one's key.
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)
