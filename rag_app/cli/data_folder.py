"""Which DATA_DIR a command that reads it means: `make run` sets one, a shell beside it mostly does not."""

from pathlib import Path

from rag_app.cli.output import say
from rag_app.core.settings import RagSettings

# Where the Makefile keeps the index of its checkout.
OF_MAKE_RUN = Path(".data")


def hint_data_folder(settings: RagSettings) -> None:
    """Say on standard error that `make run` keeps its index here, where there is one and DATA_DIR is not set."""
    if "data_dir" not in settings.model_fields_set and (OF_MAKE_RUN / "manifest.sqlite").is_file():
        say(
            f"hint: DATA_DIR is not set, so it is {settings.data_dir}; `make run` keeps its index in {OF_MAKE_RUN}: "
            f"put DATA_DIR={OF_MAKE_RUN} before the command to mean that one"
        )
