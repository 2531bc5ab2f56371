"""The default backend on a CPU: a graph of our own, run by ONNX Runtime. Needs no torch."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]

from embedding_service.backends.base import (
    MAIN_TASK,
    BackendFailed,
    Batch,
    ModelError,
    Task,
    UnsupportedModel,
    Vectors,
    pad,
    token_rows,
)
from embedding_service.core.model import Kind, ModelSpec

_log = logging.getLogger("embedding_service.onnx")

# Raise it whenever onnx_graph changes: it is part of the name under which a graph is cached.
_GRAPH_VERSION = 2

# By kind: the architectures, modules and poolings whose graph can be written.
_ARCHITECTURES: Mapping[Kind, set[str]] = {
    "splade": {"BertForMaskedLM"},
    "classifier": {"BertForSequenceClassification"},
    "reranker": {"BertForSequenceClassification"},
}
_MODULES: Mapping[Kind, set[tuple[str, ...]]] = {
    "embedding": {("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize")},
    "splade": {("Transformer", "SpladePooling"), ("MLMTransformer", "SpladePooling")},
}
_POOLINGS: Mapping[Kind, set[str]] = {"embedding": {"mean", "cls"}, "splade": {"splade"}}


class OnnxBackend:
    """A session over the written graph."""

    name = "onnx"

    def __init__(self, spec: ModelSpec, session: Any):
        """session: an onnxruntime.InferenceSession of the graph that onnx_graph describes."""
        self._spec = spec
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        self.dim = int(session.get_outputs()[0].shape[1])
        main = MAIN_TASK[spec.kind]
        self.tasks: frozenset[Task] = frozenset({main, "embed_all"} if main == "embed" else {main})

    def run(self, task: Task, batch: Batch) -> Vectors:
        """Rows of float32; see Backend.run."""
        ids, lengths = pad(batch.ids, self._spec.pad_id)
        inputs = {"input_ids": ids, "lengths": lengths}
        if self._spec.kind in {"classifier", "reranker"}:
            inputs["second"] = lengths if batch.second is None else np.asarray(batch.second, np.int32)
        try:
            (found,) = self._session.run([self._outputs[task == "embed_all"]], inputs)
        except Exception as exc:  # ONNX Runtime's exceptions share no base but this one
            raise BackendFailed(f"onnxruntime failed on {len(batch.ids)} texts: {exc}") from exc
        rows: Vectors = token_rows(found, lengths) if task == "embed_all" else found
        return rows


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
        (_is_bert(spec), "it is not a BertModel"),
        (spec.modules in _MODULES.get(spec.kind, {spec.modules}), f"its modules are {', '.join(spec.modules)}"),
        (spec.pooling in _POOLINGS.get(spec.kind, {""}), f"its pooling is {spec.pooling or 'unknown'}"),
        (config.get("hidden_act", "gelu") == "gelu", f"its activation is {config.get('hidden_act')}"),
        (config.get("position_embedding_type", "absolute") == "absolute", "its positions are not absolute"),
        (not config.get("is_decoder"), "it is a decoder"),
        ((spec.folder / "model.safetensors").exists(), "it has no model.safetensors"),
    ]
    failed = [reason for holds, reason in reasons if not holds]
    if failed:
        raise UnsupportedModel(f"the onnx backend cannot run {spec.name!r}: {'; '.join(failed)}")


def _is_bert(spec: ModelSpec) -> bool:
    if spec.kind in _ARCHITECTURES:
        return bool(_ARCHITECTURES[spec.kind].intersection(spec.config.get("architectures") or []))
    return spec.config.get("architectures") == ["BertModel"] or spec.config.get("model_type") == "bert"


def _key(spec: ModelSpec) -> str:
    """Everything that the graph is made of: two models, or two versions of the writer, never share a folder."""
    parts = [_GRAPH_VERSION, spec.digest, spec.kind, spec.pooling, dict(spec.config)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _write(spec: ModelSpec, folder: Path) -> None:
    """Write the graph beside its place and move it there whole, so that a reader never sees half of it."""
    # Imported here: once the graph is written, a start needs neither onnx nor the weights' reader.
    from embedding_service.backends.onnx_graph import write_graph

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            whole = Path(scratch) / "graph"
            whole.mkdir()
            write_graph(spec, whole)
            try:
                os.rename(whole, folder)
            except OSError:
                if not (folder / "model.onnx").exists():  # else another process was first, with the same bytes
                    raise
    except OSError as exc:
        raise ModelError(f"cannot write the model's graph to {folder.parent}: {exc}; set DATA_DIR") from exc


def _session(folder: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle worker threads sleep at once instead of spinning: the cores are shared with the rest of the product.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
