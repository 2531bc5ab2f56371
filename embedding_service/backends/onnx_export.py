"""The ONNX graph of an embedding model that onnx_graph cannot write, exported by torch: once per model.

Needs the torch extra for that one time, and its memory until the worker's next start. What comes out has the inputs and
outputs of onnx_graph's, and is held to the model itself before it is used.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from embedding_service.backends.base import UnsupportedModel, pad
from embedding_service.backends.onnx_weights import FILE
from embedding_service.core.model import ModelSpec

# What TorchScript's exporter writes for all models that were tried; ONNX Runtime reads it since 1.15.
_OPSET = 17

# Of a component, as for every full-precision backend; what is seen is 1e-6.
_TOLERANCE = 1e-4

# Lengths unlike those of the example that is traced, so that a shape which became a constant is noticed.
_TRACED, _CHECKED = ((5, 9), (1, 14, 3, 40))


def export_graph(spec: ModelSpec, folder: Path) -> None:
    """Write model.onnx and its weights into an existing folder.

    Fails with UnsupportedModel where torch is not installed, or the graph does not give the model's vectors.
    """
    if spec.kind != "embedding":
        raise UnsupportedModel(f"only embedding models are exported to onnx, and {spec.name!r} is a {spec.kind} model")
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError as exc:
        raise UnsupportedModel(f"to export {spec.name!r} to onnx needs torch, once; run: make setup-torch") from exc
    try:
        # The other attentions are single operators of torch's, which the exporter does not know or writes badly.
        eager = {"attn_implementation": "eager"}
        model = SentenceTransformer(str(spec.folder), device="cpu", local_files_only=True, model_kwargs=eager)
        graph = _module(model.float().eval())
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of tracing and of the old exporter; the check below is what counts
            _write(graph, _example(spec, _TRACED), folder, int(model.get_embedding_dimension() or 0))
            _check(graph, _example(spec, _CHECKED), folder)
    except UnsupportedModel:
        raise
    except Exception as exc:  # torch, transformers and onnx each raise their own
        raise UnsupportedModel(f"{spec.name!r} cannot be exported to onnx: {type(exc).__name__}: {exc}"[:500]) from exc


def _module(model: Any) -> Any:
    """From ids and lengths to pooled vectors and token vectors, by the model's own modules but a closing Normalize."""
    import torch

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(part for part in model if type(part).__name__ != "Normalize")

        def forward(self, input_ids: Any, lengths: Any) -> Any:
            columns = torch.arange(input_ids.shape[1], device=input_ids.device)
            mask = (columns[None, :] < lengths[:, None]).long()
            features = {"input_ids": input_ids, "attention_mask": mask}
            for part in self.parts:
                features = part(features)
            return features["sentence_embedding"], features["token_embeddings"]

    return Graph().eval()


def _example(spec: ModelSpec, lengths: tuple[int, ...]) -> tuple[Any, Any]:
    import torch

    bound = min(spec.vocab_size, 1000)
    longest = min(max(lengths), spec.max_tokens)
    # Any ids but the padding's, which some models count positions by.
    ids = [
        [2 + (7 * row + 3 * column) % (bound - 2) for column in range(min(length, longest))]
        for row, length in enumerate(lengths)
    ]
    ids = [[token if token != spec.pad_id else token + 1 for token in row] for row in ids]
    padded, counts = pad(ids, spec.pad_id)
    return torch.from_numpy(padded), torch.from_numpy(counts)


def _write(graph: Any, example: tuple[Any, Any], folder: Path, dim: int) -> None:
    import torch

    path = folder / "model.onnx"
    torch.onnx.export(
        graph,
        example,
        str(path),
        dynamo=False,
        opset_version=_OPSET,
        input_names=["input_ids", "lengths"],
        output_names=["vectors", "last_hidden"],
        dynamic_axes={
            "input_ids": {0: "n", 1: "s"},
            "lengths": {0: "n"},
            "vectors": {0: "n"},
            "last_hidden": {0: "n", 1: "s"},
        },
    )
    model = onnx.load(str(path))
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[-1].dim_value = dim  # the exporter may leave it open
    # Beside the graph, and mapped by ONNX Runtime, as onnx_graph's weights are.
    onnx.save_model(model, str(path), save_as_external_data=True, location=FILE)


def _check(graph: Any, example: tuple[Any, Any], folder: Path) -> None:
    import onnxruntime as ort  # type: ignore[import-untyped]

    session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    ids, lengths = example
    (found,) = session.run(["vectors"], {"input_ids": ids.numpy(), "lengths": lengths.numpy()})
    expected = graph(ids, lengths)[0].numpy()
    scale = np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
    worst = float(np.abs((found - expected) / scale).max())
    if not worst <= _TOLERANCE:  # NaN included
        raise UnsupportedModel(f"its exported graph is off by {worst:.1e} a component, over {_TOLERANCE:g}")
