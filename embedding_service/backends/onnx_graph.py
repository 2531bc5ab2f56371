"""Writes the ONNX graph of a BERT-like model from its safetensors, with onnx's own helpers and without torch.

The graph takes input_ids (n, s) int64, padded on the right, and lengths (n,) int32. Its first output, rows, depends on
the kind of model: pooled vectors (n, dim), not normalised; weights of the vocabulary (n, vocab_size) for SPLADE; logits
(n, labels) for classifiers, which also take second (n,) int32, the place of a pair's second text. An embedding model
has a second output, the hidden states (n, s, dim). All are float32. Attention, SkipLayerNormalization and BiasGelu are
ONNX Runtime's fused operators, which it would otherwise have to find by pattern: written so, loading needs no graph
surgery.
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
        self._kind = spec.kind
        self._is_tied = bool(config.get("tie_word_embeddings", True))
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
        inputs = [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "s"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["n"]),
        ]
        outputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", self._head(hidden)])]
        if self._kind == "embedding":
            # The last layer's own output, named by its layer: an Identity to a prettier name would copy it.
            outputs.append(helper.make_tensor_value_info(hidden, TensorProto.FLOAT, ["n", "s", self._sizes.hidden]))
        if self._has_pairs:
            inputs.append(helper.make_tensor_value_info("second", TensorProto.INT32, ["n"]))
        graph = helper.make_graph(self._nodes, "sentence_embedding", inputs, outputs, self._initializers)
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
        if self._has_pairs:
            summed = self._add_second_types(summed)
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
            self._node("Gather", [hidden, self._constant("first", np.array(0, np.int64))], "rows", axis=1)
            return
        # mean = (1 / length where a token is, else 0) (n, 1, s) @ hidden (n, s, dim)
        is_token, lengths = self._before("lengths")
        axis = self._constant("axis", np.array([1], np.int64))
        ones = self._node("Cast", [is_token], "mask", to=TensorProto.FLOAT)
        share = self._node("Div", [ones, self._node("Cast", [lengths], "counts", to=TensorProto.FLOAT)], "share")
        means = self._node("MatMul", [self._node("Unsqueeze", [share, axis], "shares"), hidden], "means")
        self._node("Squeeze", [means, axis], "rows")

    def _head(self, hidden: str) -> int:
        """Write what makes rows of the last hidden states; returns the width of a row."""
        if self._kind == "embedding":
            self._pool(hidden)
            return self._sizes.hidden
        return self._splade(hidden) if self._kind == "splade" else self._classify(hidden)

    def _splade(self, hidden: str) -> int:
        """log(1 + relu(the highest logit of each word of the vocabulary over the tokens)).

        The maximum comes first, since all that follows it is monotone: what has a value for each token and word is as
        large as the vocabulary times the batch, so it is written once and read once.
        Source: Formal et al. 2021, SPLADE v2; weights by the names of Hugging Face's BertForMaskedLM.
        """
        head = "cls.predictions"
        dense = self._matmul(f"{head}.transform.dense", hidden)
        wide = self._node("BiasGelu", [dense, self._weight(f"{head}.transform.dense.bias")], f"{head}.gelu", _FUSED)
        scale, shift = self._pair(f"{head}.transform.LayerNorm")
        normed = self._node(
            "LayerNormalization", [wide, scale, shift], f"{head}.normed", epsilon=self._sizes.eps
        )  # (n, s, hidden)
        # Where there is no token, the first token once more: it changes no maximum.
        is_token, _ = self._before("lengths")
        axis = self._constant("last_axis", np.array([2], np.int64))
        first = self._node("Gather", [normed, self._constant("first", np.array([0], np.int64))], "first_row", axis=1)
        tokens = self._node("Where", [self._node("Unsqueeze", [is_token, axis], "is_row"), normed, first], "tokens")
        words, bias = "embeddings.word_embeddings.weight", f"{head}.bias"
        if not self._is_tied:
            words, bias = self._weight(f"{head}.decoder.weight"), f"{head}.decoder.bias"
        logits = self._node("FusedMatMul", [tokens, words], "token_logits", _FUSED, transB=1)
        over_tokens = self._constant("over_tokens", np.array([1], np.int64))
        highest = self._node("ReduceMax", [logits, over_tokens], "highest", keepdims=0)
        biased = self._node("Add", [highest, self._weight(bias)], "biased")
        one = self._constant("one", np.array(1, np.float32))
        self._node("Log", [self._node("Add", [self._node("Relu", [biased], "positive"), one], "above_one")], "rows")
        return int(self._tensor(bias).shape[0])

    def _classify(self, hidden: str) -> int:
        """Hugging Face's BertForSequenceClassification: tanh of a dense layer over the first token, then the labels."""
        first = self._node("Gather", [hidden, self._constant("first", np.array(0, np.int64))], "first_row", axis=1)
        dense = self._matmul("pooler.dense", first)
        pooled = self._node("Add", [dense, self._weight("pooler.dense.bias")], "pooler.biased")
        logits = self._matmul("classifier", self._node("Tanh", [pooled], "pooled"))
        self._node("Add", [logits, self._weight("classifier.bias")], "rows")
        return int(self._tensor("classifier.bias").shape[0])

    @property
    def _has_pairs(self) -> bool:
        return self._kind in {"classifier", "reranker"}

    def _add_second_types(self, summed: str) -> str:
        """Token type 1 instead of 0 from the second text of a pair on: the difference of their vectors is added."""
        types = self._tensor("embeddings.token_type_embeddings.weight")
        # A model with one type is given the same for both texts, as transformers' tokenizer would.
        change = types[1] - types[0] if len(types) > 1 else np.zeros_like(types[0])
        is_first, _ = self._before("second")
        axis = self._constant("type_axis", np.array([2], np.int64))
        second = self._node("Cast", [self._node("Not", [is_first], "is_second")], "second_mask", to=TensorProto.FLOAT)
        column = self._node("Unsqueeze", [second, axis], "second_column")  # (n, s, 1)
        changes = self._node("Mul", [column, self._constant("type_change", change)], "type_changes")
        return self._node("Add", [summed, changes], "typed")

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
