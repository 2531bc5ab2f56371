"""The key that a command shows to the server that it calls."""

import socket
from urllib.parse import urlsplit

from rag_app.core.settings import RagSettings
from rag_app.db.api_key import known_key
from service_kit.browsers import is_loopback

# What to do where a server asks for a key, or for another one.
WHERE_IT_IS = (
    "set RAG_API_KEY to what `code-assistant key` prints where the server runs "
    "(in Compose: docker compose exec rag-server code-assistant key)"
)


def key_for(url: str, settings: RagSettings) -> str | None:
    """The key to show to the server at `url`, None: none.

    RAG_API_KEY and RAG_API_KEY_FILE are for whichever server is called. The key that a server of this machine has made
    goes to that server alone: to the port of RAG_PORT at an address of this machine. Fails with ValueError in words.
    """
    if settings.rag_api_key is None and not _is_own(url, settings):
        return None
    found = known_key(settings)
    return None if found is None else found.get_secret_value()


def _is_own(url: str, settings: RagSettings) -> bool:
    """Is this the server of this machine's settings?"""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return False
    host = parts.hostname or ""
    return port == settings.rag_port and (is_loopback(host) or (host == settings.rag_host and _is_here(host)))


def _is_here(host: str) -> bool:
    """Does this machine have this address? A .env of a stranger's folder may name any in RAG_HOST."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
