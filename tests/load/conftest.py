"""Locust in an environment of its own, as `make load` has it: made at the first use, in ten seconds."""

from pathlib import Path

import pytest

from benchmarks.core.venvs import VENVS, ensure
from tests.load.__main__ import REQUIREMENTS


@pytest.fixture(scope="session")
def locust() -> Path:
    return ensure(VENVS / "load", REQUIREMENTS, "locust")
