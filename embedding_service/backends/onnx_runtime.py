"""The default backend on a CPU: a graph of our own, run by ONNX Runtime. Needs no torch."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]

from embedding_service.backends.base import (
    MAIN_TASK,
    BackendFailed,
    Batch,
    Task,
    UnsupportedModel,
    Vectors,
    pad,
    token_rows,
)
from embedding_service.backends.whole_folder import content_key, write_whole
from embedding_service.core.model import INT8_METHOD, Kind, ModelSpec
from embedding_service.core.settings import Dtype

_log = logging.getLogger("embedding_service.onnx")

# Raise it whenever onnx_graph changes: it is part of the name under which a graph is cached.
_GRAPH_VERSION = 3

# Beside an int8 graph: what it is and how true, as onnx_calibrate measured when it wrote it.
_FACTS = "quantization.json"

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

    def __init__(self, spec: ModelSpec, session: Any, details: Mapping[str, Any]):
        """session: an onnxruntime.InferenceSession of the graph that onnx_graph describes. details: for /info."""
        self.details = details
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


def load_onnx(spec: ModelSpec, cache: Path, dtype: Dtype = "float32") -> OnnxBackend:
    """Load the model of `spec` from its cached graph, written first where it is not there.

    cache: folder of graphs, created at need. dtype: of the arithmetic; int8 tells its fidelity in `details`.
    Fails with UnsupportedModel (use another backend) or ModelError.
    """
    is_written = _is_written(spec, dtype)
    if dtype == "int8" and spec.kind != "embedding":
        raise UnsupportedModel(f"int8 is of embedding models only, and {spec.name!r} is a {spec.kind} model")
    folder = cache / _key(spec, dtype, is_written)
    write = _write if is_written else _export
    if not (folder / "model.onnx").exists():
        write(spec, folder, dtype)
    try:
        return _load(spec, folder, dtype)
    except MemoryError:  # the graph is as good as it was, for this and for other processes
        raise
    except Exception as exc:  # as above; a graph that cannot be read is written anew, once
        _log.warning("graph unreadable", extra={"folder": str(folder), "detail": str(exc)})
        shutil.rmtree(folder)
        write(spec, folder, dtype)
        return _load(spec, folder, dtype)


def _is_written(spec: ModelSpec, dtype: Dtype) -> bool:
    """By onnx_graph, or else exported by torch? Fails with UnsupportedModel for an int8 that cannot be written."""
    try:
        check_supported(spec)
    except UnsupportedModel:
        if dtype == "int8":
            raise
        return False
    return True


def check_supported(spec: ModelSpec) -> None:
    """Raise UnsupportedModel, with the reason, unless the graph of this model can be written without torch."""
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


def _key(spec: ModelSpec, dtype: Dtype, is_written: bool) -> str:
    """Everything that the graph is made of: two models, or two versions of the writer, never share a folder."""
    method = INT8_METHOD if dtype == "int8" else "" if is_written else "exported"
    return content_key([_GRAPH_VERSION, spec.digest, spec.kind, spec.pooling, dict(spec.config), dtype, method])


def _write(spec: ModelSpec, folder: Path, dtype: Dtype) -> None:
    # Imported here: once the graph is written, a start needs neither onnx nor the weights' reader.
    from embedding_service.backends.onnx_calibrate import write_quantized_graph
    from embedding_service.backends.onnx_heads import write_graph

    def write(whole: Path) -> None:
        if dtype == "int8":
            (whole / _FACTS).write_text(json.dumps(write_quantized_graph(spec, whole)))
        else:
            write_graph(spec, whole)

    write_whole(folder, write)


def _export(spec: ModelSpec, folder: Path, dtype: Dtype) -> None:
    from embedding_service.backends.onnx_export import export_graph

    try:
        write_whole(folder, lambda whole: export_graph(spec, whole))
    except UnsupportedModel as exc:
        try:
            check_supported(spec)
        except UnsupportedModel as why:
            raise UnsupportedModel(f"{why}; and {exc}") from exc
        raise


def _load(spec: ModelSpec, folder: Path, dtype: Dtype) -> OnnxBackend:
    details = {"quantization": json.loads((folder / _FACTS).read_bytes())} if dtype == "int8" else {}
    return OnnxBackend(spec, _session(folder), details)


def _session(folder: Path) -> Any:
    options = ort.SessionOptions()
    # A batch is computed by the thread that asks, and several threads ask: no batch waits for another's, and on two
    # cores little is lost to splitting one (texts of 180 tokens: 117 us a token alone, 108 in threes, 115 in sixes).
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
