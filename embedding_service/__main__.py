"""python -m embedding_service: serve until told to stop."""

from embedding_service.core.settings import EmbeddingSettings
from embedding_service.main import create_app
from service_kit.logs import configure_logging
from service_kit.serve import serve
from service_kit.settings import explained


def main() -> None:
    """Read the settings, configure the logs, serve."""
    with explained("embedding_service"):
        settings = EmbeddingSettings()
    configure_logging("embedding_service", settings.log_level)
    serve(
        create_app(settings),
        settings.embedding_host,
        settings.embedding_port,
        "EMBEDDING_PORT",
        grace_s=settings.shutdown_grace_s,
    )


if __name__ == "__main__":
    main()
