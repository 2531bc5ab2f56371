"""`python -m llm_service`: serve until SIGINT or SIGTERM."""

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app
from service_kit.logs import configure_logging
from service_kit.serve import serve
from service_kit.settings import explained


def main() -> None:
    """Serve on LLM_HOST:LLM_PORT; exit code 2, in words, where a setting or a file that it names is wrong."""
    with explained("llm_service"):
        settings = LlmSettings()
        configure_logging("llm_service", settings.log_level)
        app = create_app(settings)
    serve(app, settings.llm_host, settings.llm_port, "LLM_PORT", grace_s=settings.shutdown_grace_s)


if __name__ == "__main__":
    main()
