"""`python -m llm_service`: serve until SIGINT or SIGTERM."""

import sys

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app
from service_kit.logs import configure_logging
from service_kit.serve import USAGE_ERROR, serve


def main() -> None:
    """Serve on LLM_HOST:LLM_PORT. A wrong setting or file is told in words, without a trace."""
    try:
        settings = LlmSettings()
        configure_logging("llm_service", settings.log_level)
        app = create_app(settings)
    except ValueError as exc:
        print(f"llm_service cannot start: {exc}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
    serve(app, settings.llm_host, settings.llm_port, "LLM_PORT")


if __name__ == "__main__":
    main()
