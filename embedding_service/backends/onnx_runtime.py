"""The default backend on a CPU: a graph of our own, run by ONNX Runtime. Needs no torch."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort  # type: ignore[import-untyped]

from embedding_service.backends.base import BackendFailed, Batch, Task, UnsupportedModel, Vectors, pad
from embedding_service.backends.whole_folder import content_key, write_whole
from embedding_service.core.model import INT8_METHOD, ModelSpec
from embedding_service.core.settings import Dtype

_log = logging.getLogger("embedding_service.onnx")

# Raise it whenever onnx_graph changes: it is part of the name under which a graph is cached.
_GRAPH_VERSION = 2

# Beside an int8 graph: what it is and how true, as onnx_calibrate measured when it wrote it.
_FACTS = "quantization.json"

_MODULES = {("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize")}


class OnnxBackend:
    """A session over the written graph."""

    name = "onnx"
    tasks: frozenset[Task] = frozenset({"embed"})

    def __init__(self, spec: ModelSpec, session: Any, details: Mapping[str, Any]):
        """session: an onnxruntime.InferenceSession of the graph that onnx_graph describes. details: for /info."""
        self.details = details
        self._spec = spec
        self._session = session
        self.dim = int(spec.config["hidden_size"])

    def run(self, task: Task, batch: Batch) -> Vectors:
        """Rows of float32; see Backend.run."""
        ids, lengths = pad(batch.ids, self._spec.pad_id)
        try:
            (vectors,) = self._session.run(["vectors"], {"input_ids": ids, "lengths": lengths})
        except Exception as exc:  # ONNX Runtime's exceptions share no base but this one
            raise BackendFailed(f"onnxruntime failed on {len(batch.ids)} texts: {exc}") from exc
        found: Vectors = vectors
        return found


def load_onnx(spec: ModelSpec, cache: Path, dtype: Dtype = "float32") -> OnnxBackend:
    """Load the model of `spec` from its cached graph, written first where it is not there.

    cache: folder of graphs, created at need. dtype: of the arithmetic; int8 tells its fidelity in `details`.
    Fails with UnsupportedModel (use another backend) or ModelError.
    """
    check_supported(spec)
    folder = cache / _key(spec, dtype)
    if not (folder / "model.onnx").exists():
        _write(spec, folder, dtype)
    try:
        return _load(spec, folder, dtype)
    except Exception as exc:  # as above; a graph that cannot be read is written anew, once
        _log.warning("graph unreadable", extra={"folder": str(folder), "detail": str(exc)})
        shutil.rmtree(folder)
        _write(spec, folder, dtype)
        return _load(spec, folder, dtype)


def check_supported(spec: ModelSpec) -> None:
    """Raise UnsupportedModel, with the reason, unless the graph of this model can be written."""
    config = spec.config
    reasons = [
        (config.get("architectures") == ["BertModel"] or config.get("model_type") == "bert", "it is not a BertModel"),
        (spec.modules in _MODULES, f"its modules are {', '.join(spec.modules)}"),
        (spec.pooling in {"mean", "cls"}, f"its pooling is {spec.pooling or 'unknown'}"),
        (config.get("hidden_act", "gelu") == "gelu", f"its activation is {config.get('hidden_act')}"),
        (config.get("position_embedding_type", "absolute") == "absolute", "its positions are not absolute"),
        (not config.get("is_decoder"), "it is a decoder"),
        ((spec.folder / "model.safetensors").exists(), "it has no model.safetensors"),
    ]
    failed = [reason for holds, reason in reasons if not holds]
    if failed:
        raise UnsupportedModel(f"the onnx backend cannot run {spec.name!r}: {'; '.join(failed)}")


def _key(spec: ModelSpec, dtype: Dtype) -> str:
    """Everything that the graph is made of: two models, or two versions of the writer, never share a folder."""
    method = INT8_METHOD if dtype == "int8" else ""
    return content_key([_GRAPH_VERSION, spec.digest, spec.pooling, dict(spec.config), dtype, method])


def _write(spec: ModelSpec, folder: Path, dtype: Dtype) -> None:
    # Imported here: once the graph is written, a start needs neither onnx nor the weights' reader.
    from embedding_service.backends.onnx_calibrate import write_quantized_graph
    from embedding_service.backends.onnx_graph import write_graph

    def write(whole: Path) -> None:
        if dtype == "int8":
            (whole / _FACTS).write_text(json.dumps(write_quantized_graph(spec, whole)))
        else:
            write_graph(spec, whole)

    write_whole(folder, write)


def _load(spec: ModelSpec, folder: Path, dtype: Dtype) -> OnnxBackend:
    details = {"quantization": json.loads((folder / _FACTS).read_bytes())} if dtype == "int8" else {}
    return OnnxBackend(spec, _session(folder), details)


def _session(folder: Path) -> Any:
    options = ort.SessionOptions()
    # A batch is computed by the thread that asks, and several threads ask: no batch waits for another's, and on two
    # cores nothing is lost to splitting one (129 us a token alone, 131 in batches of 3 and 6 texts of 180 tokens).
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
