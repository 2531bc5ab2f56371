"""Writes the ONNX graph of a BERT-like model from its safetensors, with onnx's own helpers and without torch.

The graph takes input_ids (n, s) int64, padded on the right, and lengths (n,) int32, and gives vectors (n, dim) float32,
pooled and not normalised, and as a second output the hidden states (n, s, dim). Models for other tasks have another
head, in onnx_heads. Between embedding and pooling the tokens are rows (n s, hidden) of one matrix. Attention is
ONNX Runtime's fused operator. Its SkipLayerNormalization is left alone: it adds with one accumulator and takes 13 % of
the time, where LayerNormalization takes 2; its optimiser, which looks for the pattern in sequences, leaves rows alone.
Source: Devlin et al. 2018, post-layer-norm; weights by the names of Hugging Face's BertModel.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from embedding_service.backends.onnx_weights import Array, Tensors, WeightsFile
from embedding_service.core.model import ModelSpec

FUSED = "com.microsoft"


@dataclass(frozen=True, slots=True)
class _Sizes:
    layers: int
    heads: int
    hidden: int
    eps: float


class GraphWriter:
    """Collects nodes and weights; each method adds a piece of the graph and returns the name of its output."""

    def __init__(self, spec: ModelSpec, file: WeightsFile):
        """file: takes the weights; it is left open."""
        config = spec.config
        self._pooling = spec.pooling
        self._weights = Tensors(spec.folder / "model.safetensors")
        self._file = file
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
        hidden = self._rows(self._embeddings(), "embedding_rows")
        for layer in range(self._sizes.layers):
            hidden = self._layer(f"encoder.layer.{layer}", hidden)
        inputs = [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "s"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["n"]),
            *self._more_inputs(),
        ]
        outputs = self._head(self._sequences(hidden, "last_hidden"))
        graph = helper.make_graph(self._nodes, "sentence_embedding", inputs, outputs, self._initializers)
        # IR 10 and opset 20 are read by every ONNX Runtime since 1.18.
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(FUSED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def _embeddings(self) -> str:
        # One segment only, so its type vector is added to every position once, here.
        types = self._weights["embeddings.token_type_embeddings.weight"][0]
        positions = self._constant("positions", self._weights["embeddings.position_embeddings.weight"] + types)
        zero = self._constant("zero", np.array([0], np.int64))
        length = self._node("Shape", ["input_ids"], "sequence_length", start=1, end=2)
        rows = self._node("Slice", [positions, zero, length], "position_rows")
        summed = self._typed(self._node("Add", [self._words(), rows], "embedded"))
        scale, shift = self._pair("embeddings.LayerNorm")
        return self._node("LayerNormalization", [summed, scale, shift], "hidden", epsilon=self._sizes.eps)

    def _typed(self, summed: str) -> str:
        """The summed embeddings (n, s, hidden), changed where there is more than one segment."""
        return summed

    def _more_inputs(self) -> list[Any]:
        return []

    def _head(self, hidden: str) -> list[Any]:
        """What the graph gives, from the last hidden states (n, s, hidden)."""
        self._pool(hidden)
        return [
            helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", self._sizes.hidden]),
            helper.make_tensor_value_info(hidden, TensorProto.FLOAT, ["n", "s", self._sizes.hidden]),
        ]

    def _words(self) -> str:
        return self._node("Gather", [self._weight("embeddings.word_embeddings.weight"), "input_ids"], "word_rows")

    def _layer(self, layer: str, hidden: str) -> str:
        context = self._attention(f"{layer}.attention", hidden)
        hidden = self._add_norm(f"{layer}.attention.output", context, hidden)
        wide = self._dense(f"{layer}.intermediate.dense", hidden)
        gelu = self._node("Gelu", [wide], f"{layer}.gelu", FUSED)
        return self._add_norm(f"{layer}.output", gelu, hidden)

    def _attention(self, block: str, hidden: str) -> str:
        matrix, bias = self._projection(*self._qkv(block))
        inputs = [self._sequences(hidden, f"{block}.inputs"), *self._constants(f"{block}.qkv", matrix, bias), "lengths"]
        context = self._node("Attention", inputs, f"{block}.heads", FUSED, num_heads=self._sizes.heads)
        return self._rows(context, f"{block}.context")

    def _add_norm(self, block: str, inner: str, residual: str) -> str:
        """LayerNorm(dense(inner) + residual)."""
        summed = self._node("Add", [self._dense(f"{block}.dense", inner), residual], f"{block}.sum")
        scale, shift = self._pair(f"{block}.LayerNorm")
        return self._node("LayerNormalization", [summed, scale, shift], f"{block}.normed", epsilon=self._sizes.eps)

    def _dense(self, block: str, inputs: str, *parts: str) -> str:
        """inputs (rows, k) @ matrix (k, m) + bias (m,). parts: where several weights make one matrix, their names."""
        matrix, bias = self._projection(*(parts or (block,)))
        return self._node("Gemm", [inputs, *self._constants(block, matrix, bias)], f"{block}.out")

    def _rows(self, sequences: str, output: str) -> str:
        shape = self._constant(f"{output}.shape", np.array([-1, self._sizes.hidden], np.int64))
        return self._node("Reshape", [sequences, shape], output)

    def _sequences(self, rows: str, output: str, columns: int | None = None) -> str:
        both = self._node("Shape", ["input_ids"], f"{output}.batch")  # n, s
        width = self._constant(f"{output}.width", np.array([columns or self._sizes.hidden], np.int64))
        shape = self._node("Concat", [both, width], f"{output}.shape", axis=0)
        return self._node("Reshape", [rows, shape], output)

    @staticmethod
    def _qkv(attention: str) -> tuple[str, ...]:
        return tuple(f"{attention}.self.{part}" for part in ("query", "key", "value"))

    def _projection(self, *parts: str) -> tuple[Array, Array]:
        """Matrix (k, m) and bias (m,) of linear layers side by side."""
        matrix = np.concatenate([self._weights[f"{part}.weight"].T for part in parts], axis=1)
        return matrix, np.concatenate([self._weights[f"{part}.bias"] for part in parts])

    def _pool(self, hidden: str) -> None:
        if self._pooling == "cls":
            self._node("Gather", [hidden, self._constant("first", np.array(0, np.int64))], "vectors", axis=1)
            return
        # mean = (1 / length where a token is, else 0) (n, 1, s) @ hidden (n, s, dim)
        is_token, lengths = self._before("lengths")
        axis = self._constant("axis", np.array([1], np.int64))
        ones = self._node("Cast", [is_token], "mask", to=TensorProto.FLOAT)
        share = self._node("Div", [ones, self._node("Cast", [lengths], "counts", to=TensorProto.FLOAT)], "share")
        means = self._node("MatMul", [self._node("Unsqueeze", [share, axis], "shares"), hidden], "means")
        self._node("Squeeze", [means, axis], "vectors")

    def _before(self, bounds: str) -> tuple[str, str]:
        """Which columns lie before the bound of their row: (n, s) bool, and the bounds as a column (n, 1)."""
        start, step = (
            self._constant(f"{bounds}.{name}", np.array(value, np.int64)) for name, value in (("from", 0), ("step", 1))
        )
        end = self._node("Squeeze", ["sequence_length"], f"{bounds}.end")
        columns = self._node("Range", [start, end, step], f"{bounds}.columns")
        axis = self._constant(f"{bounds}.axis", np.array([1], np.int64))
        column = self._node("Unsqueeze", [bounds, axis], f"{bounds}.column")
        wide = self._node("Cast", [column], f"{bounds}.int64", to=TensorProto.INT64)
        return self._node("Less", [columns, wide], f"{bounds}.before"), column

    def _pair(self, norm: str) -> tuple[str, str]:
        return self._weight(f"{norm}.weight"), self._weight(f"{norm}.bias")

    def _weight(self, name: str) -> str:
        return self._constant(name, self._weights[name])

    def _constants(self, block: str, matrix: Array, bias: Array) -> tuple[str, str]:
        return self._constant(f"{block}.matrix", matrix), self._constant(f"{block}.bias", bias)

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._initializers.append(self._file.add(name, value))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output
