"""Writes the ONNX graph of a BERT-like model from its safetensors, with onnx's own helpers and without torch.

The graph takes input_ids (n, s) int64, padded on the right, and lengths (n,) int32, and gives vectors (n, dim) float32,
pooled and not normalised. Attention, SkipLayerNormalization and BiasGelu are ONNX Runtime's fused operators, which it
would otherwise have to find by pattern: written so, loading needs no graph surgery.
Source: Devlin et al. 2018, post-layer-norm; weights by the names of Hugging Face's BertModel.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors import SafetensorError
from safetensors.numpy import load_file

from embedding_service.backends.base import UnsupportedModel
from embedding_service.core.model import ModelSpec

Array = NDArray[np.float32]

_FUSED = "com.microsoft"


def write_graph(spec: ModelSpec, folder: Path) -> None:
    """Write model.onnx and, beside it, its weights (mapped by ONNX Runtime, not copied) into an existing folder.

    spec: one that onnx_runtime.check_supported lets through. Fails with UnsupportedModel where a weight is missing.
    """
    model = _Writer(spec, _weights(spec.folder / "model.safetensors")).model()
    onnx.save_model(model, str(folder / "model.onnx"), save_as_external_data=True, location="weights.bin")


def _weights(path: Path) -> dict[str, Array]:
    """All tensors as float32, by name without a leading "bert."."""
    try:
        tensors = load_file(path)
    except (SafetensorError, TypeError, KeyError) as exc:
        raise UnsupportedModel(f"the onnx backend cannot read {path}: {exc}") from exc
    return {name.removeprefix("bert."): tensor.astype(np.float32) for name, tensor in tensors.items()}


@dataclass(frozen=True, slots=True)
class _Sizes:
    layers: int
    heads: int
    hidden: int
    eps: float


class _Writer:
    """Collects nodes and weights; each method adds a piece of the graph and returns the name of its output."""

    def __init__(self, spec: ModelSpec, weights: dict[str, Array]):
        config = spec.config
        self._pooling = spec.pooling
        self._weights = weights
        self._sizes = _Sizes(
            int(config["num_hidden_layers"]),
            int(config["num_attention_heads"]),
            int(config["hidden_size"]),
            float(config.get("layer_norm_eps", 1e-12)),
        )
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []

    def model(self) -> Any:
        """The whole ModelProto."""
        hidden = self._embeddings()
        for layer in range(self._sizes.layers):
            hidden = self._layer(f"encoder.layer.{layer}", hidden)
        self._pool(hidden)
        graph = helper.make_graph(
            self._nodes,
            "sentence_embedding",
            [
                helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "s"]),
                helper.make_tensor_value_info("lengths", TensorProto.INT32, ["n"]),
            ],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", self._sizes.hidden])],
            self._initializers,
        )
        # IR 10 and opset 20 are read by every ONNX Runtime since 1.18.
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(_FUSED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def _embeddings(self) -> str:
        words = self._weight("embeddings.word_embeddings.weight")
        # One segment only, so its type vector is added to every position once, here.
        types = self._tensor("embeddings.token_type_embeddings.weight")[0]
        positions = self._constant("positions", self._tensor("embeddings.position_embeddings.weight") + types)
        zero = self._constant("zero", np.array([0], np.int64))
        length = self._node("Shape", ["input_ids"], "sequence_length", start=1, end=2)
        rows = self._node("Slice", [positions, zero, length], "position_rows")
        summed = self._node("Add", [self._node("Gather", [words, "input_ids"], "word_rows"), rows], "embedded")
        scale, shift = self._pair("embeddings.LayerNorm")
        return self._node("LayerNormalization", [summed, scale, shift], "hidden", epsilon=self._sizes.eps)

    def _layer(self, layer: str, hidden: str) -> str:
        attention = f"{layer}.attention"
        parts = [f"{attention}.self.{part}" for part in ("query", "key", "value")]
        matrix = np.concatenate([self._tensor(f"{part}.weight").T for part in parts], axis=1)  # (hidden, 3 hidden)
        bias = np.concatenate([self._tensor(f"{part}.bias") for part in parts])
        inputs = [hidden, self._constant(f"{attention}.qkv", matrix), self._constant(f"{attention}.qkv_bias", bias)]
        context = self._node(
            "Attention", [*inputs, "lengths"], f"{attention}.context", _FUSED, num_heads=self._sizes.heads
        )
        hidden = self._add_norm(f"{attention}.output", context, hidden)
        wide = self._matmul(f"{layer}.intermediate.dense", hidden)
        bias_name = self._weight(f"{layer}.intermediate.dense.bias")
        wide = self._node("BiasGelu", [wide, bias_name], f"{layer}.gelu", _FUSED)
        return self._add_norm(f"{layer}.output", wide, hidden)

    def _add_norm(self, block: str, inner: str, residual: str) -> str:
        """LayerNorm(dense(inner) + residual)."""
        projected = self._matmul(f"{block}.dense", inner)
        scale, shift = self._pair(f"{block}.LayerNorm")
        inputs = [projected, residual, scale, shift, self._weight(f"{block}.dense.bias")]
        return self._node("SkipLayerNormalization", inputs, f"{block}.normed", _FUSED, epsilon=self._sizes.eps)

    def _pool(self, hidden: str) -> None:
        if self._pooling == "cls":
            self._node("Gather", [hidden, self._constant("first", np.array(0, np.int64))], "vectors", axis=1)
            return
        # mean = (1 / length where a token is, else 0) (n, 1, s) @ hidden (n, s, dim)
        zero, one = (self._constant(name, np.array(value, np.int64)) for name, value in (("from", 0), ("step", 1)))
        end = self._node("Squeeze", ["sequence_length"], "end")
        columns = self._node("Range", [zero, end, one], "columns")
        axis = self._constant("axis", np.array([1], np.int64))
        lengths = self._node("Unsqueeze", ["lengths", axis], "length_column")  # (n, 1)
        is_token = self._node("Less", [columns, self._node("Cast", [lengths], "lengths64", to=TensorProto.INT64)], "is")
        ones = self._node("Cast", [is_token], "mask", to=TensorProto.FLOAT)
        share = self._node("Div", [ones, self._node("Cast", [lengths], "counts", to=TensorProto.FLOAT)], "share")
        means = self._node("MatMul", [self._node("Unsqueeze", [share, axis], "shares"), hidden], "means")
        self._node("Squeeze", [means, axis], "vectors")

    def _matmul(self, dense: str, inputs: str) -> str:
        matrix = self._constant(f"{dense}.matrix", self._tensor(f"{dense}.weight").T)
        return self._node("MatMul", [inputs, matrix], f"{dense}.out")

    def _pair(self, norm: str) -> tuple[str, str]:
        return self._weight(f"{norm}.weight"), self._weight(f"{norm}.bias")

    def _weight(self, name: str) -> str:
        return self._constant(name, self._tensor(name))

    def _tensor(self, name: str) -> Array:
        if name not in self._weights:
            raise UnsupportedModel(f"the onnx backend misses the weight {name}")
        return self._weights[name]

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        # Not np.ascontiguousarray: it makes a vector of a scalar, and Gather's answer then has a dimension too many.
        self._initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output
