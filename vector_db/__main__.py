"""`python -m vector_db`: the vector database on QDRANT_HOST:QDRANT_PORT."""

import sys

from service_kit.errors import ServiceError
from service_kit.logs import configure_logging
from service_kit.serve import serve
from service_kit.settings import USAGE_ERROR, explained
from vector_db.core.settings import VectorDbSettings
from vector_db.engine.database import Database
from vector_db.main import create_app


def main() -> None:
    """Serve until SIGINT or SIGTERM; exit code 2 where the folder or the port is taken."""
    with explained("vector_db"):
        settings = VectorDbSettings()
        configure_logging("vector_db", settings.log_level)
        database = Database(settings.vector_db_dir)
        app = create_app(settings, database=database)
    try:
        # Before the port is bound, and not in the app's lifespan, whose failures end in a traceback.
        database.open()
    except ServiceError as exc:
        print(exc.message, file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from exc
    serve(app, settings.qdrant_host, settings.qdrant_port, "QDRANT_PORT", grace_s=settings.shutdown_grace_s)


if __name__ == "__main__":
    main()
