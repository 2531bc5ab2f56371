"""`code-assistant key`: what this machine's server asks its callers for."""

from rag_app.cli.client import Failure
from rag_app.cli.data_folder import hint_data_folder
from rag_app.cli.output import emit
from rag_app.cli.search import NOTHING_FOUND
from rag_app.core.settings import RagSettings
from rag_app.db.api_key import key_path, known_key
from service_kit.browsers import is_loopback


def key() -> None:
    """Print the key of this machine's server, for its page, for other machines' commands and for programs.

    Exit code: 0 printed, 1 there is none, 2 error.
    """
    settings = RagSettings()
    hint_data_folder(settings)
    try:
        found = known_key(settings)
    except ValueError as exc:
        raise Failure(str(exc)) from exc
    if found is None and is_loopback(settings.rag_host):
        raise Failure(
            f"a server at {settings.rag_host} asks for no key: only this machine reaches it (RAG_HOST)", NOTHING_FOUND
        )
    if found is None:
        path = key_path(settings)
        raise Failure(f"there is no {path}; the server makes it when it starts for the first time", NOTHING_FOUND)
    emit(f"{found.get_secret_value()}\n")
