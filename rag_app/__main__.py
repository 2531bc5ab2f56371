"""`python -m rag_app`: the RAG server as a process."""

import sys

from rag_app.core.settings import RagSettings
from rag_app.db.manifest import Manifest
from rag_app.main import create_app
from service_kit.errors import ServiceError
from service_kit.logs import configure_logging
from service_kit.serve import serve
from service_kit.settings import USAGE_ERROR, explained


def main() -> None:
    """Serve until told to stop."""
    with explained("rag_app"):
        settings = RagSettings()
    configure_logging("rag_app", settings.log_level)
    manifest = Manifest(settings.data_dir / "manifest.sqlite")
    try:
        # Before the port is bound, and not in the app's lifespan only, whose failures end in a traceback.
        manifest.open()
    except ServiceError as exc:
        print(f"rag_app cannot start: {exc.message}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from exc
    manifest.close()
    serve(create_app(settings), settings.rag_host, settings.rag_port, "RAG_PORT")


if __name__ == "__main__":
    main()
