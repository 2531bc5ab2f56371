"""Nothing is told to the makers of the libraries."""

import os
import subprocess
import sys
from pathlib import Path

_RUN = """
from embedding_service.backends.load import load_model
from embedding_service.core.settings import EmbeddingSettings

load_model(EmbeddingSettings())
"""


def test_a_loaded_model_leaves_no_telemetry_of_onnx_runtime(tmp_path: Path) -> None:
    """It keeps a device id and a database of events to send below the home folder, from its first session on."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "DATA_DIR": str(tmp_path / "data"), "XDG_CACHE_HOME": ""}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", _RUN], env=environment, check=True, capture_output=True)
    assert (tmp_path / "data" / "onnx").is_dir()
    assert [path for path in home.rglob("*") if "onnxruntime" in path.name.lower()] == []
