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
    """Serve until told to stop; exit code 2, in words, where a setting or a file that it names is wrong."""
    with explained("rag_app"):
        settings = RagSettings()
        configure_logging("rag_app", settings.log_level)
        app = create_app(settings)
    manifest = Manifest(settings.data_dir / "manifest.sqlite")
    try:
        # Before the port is bound, and not in the app's lifespan only, whose failures end in a traceback.
        manifest.open()
    except ServiceError as exc:
        print(f"rag_app cannot start: {exc.message}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from exc
    manifest.close()
    serve(app, settings.rag_host, settings.rag_port, "RAG_PORT", grace_s=settings.shutdown_grace_s)


if __name__ == "__main__":
    main()
