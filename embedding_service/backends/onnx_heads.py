"""The graph's heads for what is not a pooled vector: SPLADE's weights of the vocabulary; labels of texts and pairs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from embedding_service.backends.onnx_graph import FUSED, GraphWriter
from embedding_service.backends.onnx_weights import WeightsFile
from embedding_service.core.model import Kind, ModelSpec


def write_graph(spec: ModelSpec, folder: Path) -> None:
    """Write model.onnx and, beside it, its weights (mapped by ONNX Runtime, not copied) into an existing folder.

    spec: one that onnx_runtime.check_supported lets through. Fails with UnsupportedModel where a weight is missing.
    """
    with WeightsFile(folder) as file:
        onnx.save_model(_WRITERS[spec.kind](spec, file).model(), str(folder / "model.onnx"))


class SpladeWriter(GraphWriter):
    """Gives rows (n, vocab_size): log(1 + relu(the highest logit of each word of the vocabulary over the tokens)).

    The maximum comes first, since all that follows it is monotone: what has a value for each token and word is as
    large as the vocabulary times the batch, so it is written once and read once.
    Source: Formal et al. 2021, SPLADE v2; weights by the names of Hugging Face's BertForMaskedLM.
    """

    def __init__(self, spec: ModelSpec, file: WeightsFile):
        """file: takes the weights; it is left open."""
        super().__init__(spec, file)
        self._is_tied = bool(spec.config.get("tie_word_embeddings", True))

    def _head(self, hidden: str) -> list[Any]:
        block = "cls.predictions"
        rows = self._dense(f"{block}.transform.dense", self._rows(hidden, f"{block}.inputs"))
        gelu = self._node("Gelu", [rows], f"{block}.gelu", FUSED)
        scale, shift = self._pair(f"{block}.transform.LayerNorm")
        normed = self._node("LayerNormalization", [gelu, scale, shift], f"{block}.normed", epsilon=self._sizes.eps)
        sequences = self._sequences(normed, f"{block}.sequences")
        # Where there is no token, the first token once more: it changes no maximum.
        is_token, _ = self._before("lengths")
        axis = self._constant("last_axis", np.array([2], np.int64))
        first = self._node("Gather", [sequences, self._constant("first", np.array([0], np.int64))], "first_row", axis=1)
        tokens = self._node("Where", [self._node("Unsqueeze", [is_token, axis], "is_row"), sequences, first], "tokens")
        words, bias = "embeddings.word_embeddings.weight", f"{block}.bias"
        if not self._is_tied:
            words, bias = self._weight(f"{block}.decoder.weight"), f"{block}.decoder.bias"
        logits = self._node("FusedMatMul", [tokens, words], "token_logits", FUSED, transB=1)
        over_tokens = self._constant("over_tokens", np.array([1], np.int64))
        highest = self._node("ReduceMax", [logits, over_tokens], "highest", keepdims=0)
        positive = self._node("Relu", [self._node("Add", [highest, self._weight(bias)], "biased")], "positive")
        one = self._constant("one", np.array(1, np.float32))
        self._node("Log", [self._node("Add", [positive, one], "above_one")], "rows")
        return [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", int(self._weights[bias].shape[0])])]


class ClassifierWriter(GraphWriter):
    """Gives rows (n, labels): tanh of a dense layer over the first token, then the labels. Takes second (n,) int32 too.

    second: where the second text of a pair begins; its tokens have type 1.
    Source: Hugging Face's BertForSequenceClassification, by the names of its weights.
    """

    def _more_inputs(self) -> list[Any]:
        return [helper.make_tensor_value_info("second", TensorProto.INT32, ["n"])]

    def _typed(self, summed: str) -> str:
        # Type 0 has been added to every position; from the second text on, its difference to type 1 is added.
        types = self._weights["embeddings.token_type_embeddings.weight"]
        change = types[1] - types[0] if len(types) > 1 else np.zeros_like(types[0])
        is_first, _ = self._before("second")
        axis = self._constant("type_axis", np.array([2], np.int64))
        second = self._node("Cast", [self._node("Not", [is_first], "is_second")], "second_mask", to=TensorProto.FLOAT)
        column = self._node("Unsqueeze", [second, axis], "second_column")  # (n, s, 1)
        changes = self._node("Mul", [column, self._constant("type_change", change)], "type_changes")
        return self._node("Add", [summed, changes], "typed")

    def _head(self, hidden: str) -> list[Any]:
        first = self._node("Gather", [hidden, self._constant("first", np.array(0, np.int64))], "first_row", axis=1)
        logits = self._dense("classifier", self._node("Tanh", [self._dense("pooler.dense", first)], "pooled"))
        width = int(self._weights["classifier.bias"].shape[0])
        return [helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["n", width])]


_WRITERS: dict[Kind, type[GraphWriter]] = {
    "embedding": GraphWriter,
    "splade": SpladeWriter,
    "classifier": ClassifierWriter,
    "reranker": ClassifierWriter,
}
