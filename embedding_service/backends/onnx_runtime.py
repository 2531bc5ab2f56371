"""The default backend on a CPU: a graph of our own, run by ONNX Runtime. Needs no torch."""

import logging
import shutil
from pathlib import Path
from typing import Any

import onnxruntime as ort  # type: ignore[import-untyped]

from embedding_service.backends.base import BackendFailed, Batch, Task, UnsupportedModel, Vectors, pad
from embedding_service.backends.whole_folder import content_key, write_whole
from embedding_service.core.model import ModelSpec

_log = logging.getLogger("embedding_service.onnx")

# Raise it whenever onnx_graph changes: it is part of the name under which a graph is cached.
_GRAPH_VERSION = 1

_MODULES = {("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize")}


class OnnxBackend:
    """A session over the written graph."""

    name = "onnx"
    tasks: frozenset[Task] = frozenset({"embed"})

    def __init__(self, spec: ModelSpec, session: Any):
        """session: an onnxruntime.InferenceSession of the graph that onnx_graph describes."""
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


def load_onnx(spec: ModelSpec, cache: Path, threads: int) -> OnnxBackend:
    """Load the model of `spec` from its cached graph, written first where it is not there.

    cache: folder of graphs, created at need. threads: 0 for all cores.
    Fails with UnsupportedModel (use another backend) or ModelError.
    """
    check_supported(spec)
    folder = cache / _key(spec)
    if not (folder / "model.onnx").exists():
        _write(spec, folder)
    try:
        session = _session(folder, threads)
    except Exception as exc:  # as above; a graph that cannot be read is written anew, once
        _log.warning("graph unreadable", extra={"folder": str(folder), "detail": str(exc)})
        shutil.rmtree(folder)
        _write(spec, folder)
        session = _session(folder, threads)
    return OnnxBackend(spec, session)


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


def _key(spec: ModelSpec) -> str:
    """Everything that the graph is made of: two models, or two versions of the writer, never share a folder."""
    return content_key([_GRAPH_VERSION, spec.digest, spec.pooling, dict(spec.config)])


def _write(spec: ModelSpec, folder: Path) -> None:
    # Imported here: once the graph is written, a start needs neither onnx nor the weights' reader.
    from embedding_service.backends.onnx_graph import write_graph

    write_whole(folder, lambda whole: write_graph(spec, whole))


def _session(folder: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle worker threads sleep at once instead of spinning: the cores are shared with the rest of the product.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
