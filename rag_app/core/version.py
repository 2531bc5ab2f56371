"""Which version of the program this is."""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("code-assistant")
    except PackageNotFoundError:
        return "unknown"  # sources that were copied and not installed, as in a container


PROGRAM_VERSION = _installed()
