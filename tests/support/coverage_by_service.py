"""A pytest plugin: with --cov-by-service each package of the house must be covered by itself, as `fail_under` says.

pytest-cov's own threshold is one for all, where a well-covered service would hide a neglected one.
"""

import io
from collections.abc import Iterator

import coverage
import pytest

from tests.architecture.rules import PACKAGES


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cov-by-service",
        type=float,
        nargs="?",
        const=coverage.Coverage().get_option("report:fail_under"),
        metavar="N",
        help="least coverage of each package, in %%; by default fail_under of pyproject.toml",
    )


def pytest_configure(config: pytest.Config) -> None:
    least = config.getoption("--cov-by-service")
    if least is not None:
        config.pluginmanager.register(_ByService(least), "coverage-by-service")


class _ByService:
    def __init__(self, least: float):
        self._least = least
        self._rows: list[str] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        result = yield  # pytest-cov has stopped, combined and saved by now
        for package, covered in _coverage_of(sorted(PACKAGES)):
            is_enough = covered >= self._least
            self._rows.append(f"{package:<20} {covered:6.2f} %{'' if is_enough else f'  below {self._least:g} %'}")
            if not is_enough:
                session.testsfailed += 1
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(f"branch coverage by service (at least {self._least:g} % each)")
        for row in self._rows:
            terminalreporter.write_line(row, red="below" in row)


def _coverage_of(packages: list[str]) -> Iterator[tuple[str, float]]:
    data = coverage.Coverage()
    data.load()
    measured = data.get_data().measured_files()
    for package in packages:
        if any(f"/{package}/" in name for name in measured):
            yield package, data.report(include=[f"{package}/*"], file=io.StringIO(), show_missing=False)
