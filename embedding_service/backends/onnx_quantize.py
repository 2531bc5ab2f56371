"""The int8 form of the graph: what is quantised how, so that a text has one vector alone and in any batch.

A batch must not share a scale, or texts would change with their neighbours. So the inputs of a matrix product are
quantised with scales that are fixed when the graph is written (a LayerNorm's output and an attention's are bounded, and
nearly the same for any text), or, after GELU, whose rare peaks a fixed scale would spend its steps on, with a scale of
each row's own. Products are of unsigned 8 bit inputs and signed 8 bit weights, summed exactly in 32 bits.
See docs/decisions/0009-int8-without-batch-effects.md.
Source: Xiao et al. 2022 (SmoothQuant) for moving range from inputs to weights, channel by channel.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from embedding_service.backends.onnx_graph import FUSED, GraphWriter
from embedding_service.backends.onnx_weights import Array, WeightsFile
from embedding_service.core.model import ModelSpec

# Room for other texts over the range that was seen; what is beyond is clipped. 1.1 serves code as well and repetitive
# text a little less (cosine 0.984 in place of 0.988 for a line of dashes).
_MARGIN = 1.25

# GELU is never below -0.17: lifted by this much, a row is quantised without a sign, which doubles its steps.
_LIFT = np.array(0.17, np.float32)

# Percentiles of the channels' ranges that are tried as the range which smoothing leaves.
_CUTS = (50, 65, 75, 85, 90, 97, 100)


@dataclass(frozen=True, slots=True)
class InputRange:
    """What a matrix product takes: (k,) lowest, highest and mean square of each channel over the calibration."""

    low: Array
    high: Array
    power: Array


def smoothing(seen: InputRange, matrix: Array) -> Array:
    """(k,) powers of two by which inputs are divided and rows of the matrix (k, m) multiplied before both are rounded.

    The choice with the least expected error of rounding. Powers of two, since the last bit of what was seen differs
    from machine to machine, and the weights must not.
    """
    reach = np.maximum(np.maximum(-seen.low, seen.high), 1e-4)

    def error(factors: Array) -> float:
        low, high = (seen.low / factors).min(), (seen.high / factors).max()
        scaled = matrix * factors[:, None]
        from_inputs = (high - low) ** 2 / 255**2 * np.square(scaled).sum()
        from_weights = np.square(_weight_scales(scaled)).sum() * (seen.power / factors**2).sum()
        return float(from_inputs + from_weights)

    tried = [np.exp2(np.round(np.log2(np.maximum(reach / np.percentile(reach, cut), 1)))) for cut in _CUTS]
    return min((factors.astype(np.float32) for factors in tried), key=error)


def quantize_weights(matrix: Array) -> tuple[NDArray[np.int8], Array]:
    """(k, m) float32 as int8 and (m,) scales; the value is their product.

    Chips without VNNI add the products of two neighbours, k even and k + 1, in 16 bits, which 255 x 127 x 2 does not
    fit. The usual way out is 7 bits for all weights. Here the two may not exceed 128 together: 255 x 128 fits, most
    weights keep 8 bits (the error of rounding has 0.6 of its variance), and every chip gives the same integers.
    """
    scales = _weight_scales(matrix)
    return np.clip(np.round(matrix / scales), -127, 127).astype(np.int8), scales


def _weight_scales(matrix: Array) -> Array:
    sizes = np.abs(matrix)
    if len(sizes) % 2:
        sizes = np.concatenate([sizes, np.zeros_like(sizes[:1])])
    # 127 and not 128: rounding may add one half to each of the two.
    scales: Array = ((sizes[0::2] + sizes[1::2]).max(axis=0) / 127).astype(np.float32)
    return np.where(scales == 0, np.float32(1), scales)


class RowWriter(GraphWriter):
    """Full precision, with the projection to queries, keys and values as one more matrix product, outside attention.

    MultiHeadAttention goes block by block, and never writes s x s scores, only where it is given no mask. So the mask
    is one more component of each head: 1 in a query, 0 in a key, or -10,000 in a key that is padding. With int8
    products around it that is 3 % of all time at 512 tokens a batch, 7 at 1,024.
    """

    def __init__(self, spec: ModelSpec, file: WeightsFile):
        """As GraphWriter."""
        super().__init__(spec, file)
        self._made_key_mask = False

    def _attention(self, block: str, hidden: str) -> str:
        heads, size = self._sizes.heads, self._sizes.hidden // self._sizes.heads
        masked = heads * (size + 1)
        projected = self._dense(f"{block}.qkv", hidden, *self._qkv(block))
        names = [f"{block}.{part}" for part in ("queries", "keys", "values")]
        widths = self._constant(f"{block}.widths", np.array([masked, masked, heads * size], np.int64))
        self._nodes.append(helper.make_node("Split", [projected, widths], names, axis=1))
        queries, keys, values = names
        keys = self._node("Add", [keys, self._key_mask()], f"{block}.masked")
        inputs = [
            self._sequences(queries, f"{queries}.sequences", masked),
            self._sequences(keys, f"{keys}.sequences", masked),
            self._sequences(values, f"{values}.sequences"),
        ]
        context = self._node(
            "MultiHeadAttention", inputs, f"{block}.heads", FUSED, num_heads=heads, scale=float(size**-0.5)
        )
        return self._rows(context, f"{block}.context")

    def _projection(self, *parts: str) -> tuple[Array, Array]:
        matrix, bias = super()._projection(*parts)
        if len(parts) == 1:
            return matrix, bias
        heads = self._sizes.heads

        def widened(values: Array, extra: float) -> Array:
            """(k, hidden) with a column more for each head."""
            by_head = values.reshape(len(values), heads, -1)
            return np.pad(by_head, ((0, 0), (0, 0), (0, 1)), constant_values=extra).reshape(len(values), -1)

        queries, keys, values = np.split(matrix, 3, axis=1)
        query_bias, key_bias, value_bias = np.split(bias[None], 3, axis=1)
        return (
            np.concatenate([widened(queries, 0), widened(keys, 0), values], axis=1),
            np.concatenate([widened(query_bias, 1), widened(key_bias, 0), value_bias], axis=1)[0],
        )

    def _key_mask(self) -> str:
        """(n s, heads (size + 1)): what to add to keys; made once for all layers."""
        if self._made_key_mask:
            return "key_mask"
        self._made_key_mask = True
        zero, one = (self._constant(f"key_mask.{name}", np.array(name, np.int64)) for name in (0, 1))
        axis = self._constant("key_mask.axis", np.array([1], np.int64))
        end = self._node("Squeeze", ["sequence_length"], "key_mask.end")
        columns = self._node("Range", [zero, end, one], "key_mask.columns")
        lengths = self._node("Cast", ["lengths"], "key_mask.lengths", to=TensorProto.INT64)
        ends = self._node("Unsqueeze", [lengths, axis], "key_mask.ends")
        padding = self._node("GreaterOrEqual", [columns, ends], "key_mask.padding")  # (n, s)
        column = self._constant("key_mask.column", np.array([-1, 1], np.int64))
        whole = self._node("Cast", [padding], "key_mask.whole", to=TensorProto.FLOAT)
        row_is_padding = self._node("Reshape", [whole, column], "key_mask.rows")
        pattern = np.zeros((self._sizes.heads, self._sizes.hidden // self._sizes.heads + 1), np.float32)
        pattern[:, -1] = -10_000
        return self._node(
            "Mul", [row_is_padding, self._constant("key_mask.of_row", pattern.reshape(1, -1))], "key_mask"
        )


class CalibratingWriter(RowWriter):
    """A graph that tells, beside the vectors, the range of what every fixed-scale product takes."""

    def __init__(self, spec: ModelSpec, file: WeightsFile):
        """As GraphWriter."""
        super().__init__(spec, file)
        self.taps: dict[str, tuple[str, str, str]] = {}

    def model(self) -> Any:
        """GraphWriter's, with the taps as further outputs."""
        model = super().model()
        for name in (name for names in self.taps.values() for name in names):
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]))
        return model

    def _dense(self, block: str, inputs: str, *parts: str) -> str:
        if not _is_after_gelu(inputs):
            axis = self._constant(f"{block}.axis", np.array([0], np.int64))
            low = self._node("ReduceMin", [inputs, axis], f"{block}.low", keepdims=0)
            high = self._node("ReduceMax", [inputs, axis], f"{block}.high", keepdims=0)
            power = self._node("ReduceSumSquare", [inputs, axis], f"{block}.power", keepdims=0)
            self.taps[block] = (low, high, power)
        return super()._dense(block, inputs, *parts)


def merged(ranges: Iterable[tuple[Array, Array, Array]], rows: int) -> InputRange:
    """One range of many: (low, high, sum of squares) of each run, over so many rows in all."""
    lows, highs, squares = (np.stack(values) for values in zip(*ranges, strict=True))
    return InputRange(lows.min(axis=0), highs.max(axis=0), squares.sum(axis=0) / np.float32(rows))


class QuantizedWriter(RowWriter):
    """The int8 graph."""

    def __init__(self, spec: ModelSpec, file: WeightsFile, seen: Mapping[str, InputRange]):
        """seen: by the names of CalibratingWriter.taps."""
        super().__init__(spec, file)
        self._seen = seen

    def _words(self) -> str:
        # A scale for each word: three quarters of the model's memory are this table.
        table = self._weights["embeddings.word_embeddings.weight"]
        scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, np.float32(1e-12))
        whole = self._constant("words", np.round(table / scales).astype(np.int8))
        rows = self._node(
            "Cast", [self._node("Gather", [whole, "input_ids"], "words8")], "words32", to=TensorProto.FLOAT
        )
        steps = self._node("Gather", [self._constant("word_scales", scales), "input_ids"], "word_steps")  # (n, s, 1)
        return self._node("Mul", [rows, steps], "word_rows")

    def _dense(self, block: str, inputs: str, *parts: str) -> str:
        matrix, bias = self._projection(*(parts or (block,)))
        if _is_after_gelu(inputs):
            return self._row_scaled(block, inputs, matrix, bias)
        return self._fixed(block, inputs, matrix, bias)

    def _fixed(self, block: str, inputs: str, matrix: Array, bias: Array) -> str:
        seen = self._seen[block]
        factors = smoothing(seen, matrix)
        divided = self._node("Mul", [inputs, self._constant(f"{block}.smoothing", 1 / factors)], f"{block}.smooth")
        low = float(min((seen.low / factors).min() * _MARGIN, 0))
        high = float((seen.high / factors).max() * _MARGIN)
        # To three digits: the last bits of what was seen are the machine's.
        step = np.array(f"{(high - low) / 255:.2e}", np.float32)
        zero = np.clip(round(-low / float(step)), 0, 255)
        scale, offset = self._constant(f"{block}.step", step), self._constant(f"{block}.zero", np.array(zero, np.uint8))
        small = self._node("QuantizeLinear", [divided, scale, offset], f"{block}.inputs8")
        weights, scales, zeros = self._weights8(block, matrix * factors[:, None])
        operands = [small, weights, scale, scales, offset, zeros, self._constant(f"{block}.bias", bias)]
        return self._node("MatMulIntegerToFloat", operands, f"{block}.out", FUSED)

    def _row_scaled(self, block: str, inputs: str, matrix: Array, bias: Array) -> str:
        lifted = self._node("Add", [inputs, self._constant(f"{block}.lift", _LIFT)], f"{block}.lifted")
        last = self._constant(f"{block}.last", np.array([1], np.int64))
        highest = self._node("ReduceMax", [lifted, last], f"{block}.highest", keepdims=0)  # (rows,)
        steps = self._node(
            "Mul", [highest, self._constant(f"{block}.of255", np.array(1 / 255, np.float32))], f"{block}.steps"
        )
        none = self._constant(f"{block}.none", np.array([0], np.uint8))
        offsets = self._node("Expand", [none, self._node("Shape", [steps], f"{block}.rows")], f"{block}.offsets")
        small = self._node("QuantizeLinear", [lifted, steps, offsets], f"{block}.inputs8", axis=0)
        weights, scales, zeros = self._weights8(block, matrix)
        one = self._constant(f"{block}.one", np.array(1, np.float32))
        zero = self._constant(f"{block}.zero", np.array(0, np.uint8))
        sums = self._node("MatMulIntegerToFloat", [small, weights, one, scales, zero, zeros], f"{block}.sums", FUSED)
        scaled = self._node("Mul", [sums, self._node("Unsqueeze", [steps, last], f"{block}.column")], f"{block}.scaled")
        integers, widths = quantize_weights(matrix)
        unlifted = bias - _LIFT * (integers.sum(axis=0, dtype=np.int64) * widths).astype(np.float32)
        return self._node("Add", [scaled, self._constant(f"{block}.bias", unlifted)], f"{block}.out")

    def _weights8(self, block: str, matrix: Array) -> tuple[str, str, str]:
        integers, scales = quantize_weights(matrix)
        zeros = np.zeros(len(scales), np.int8)
        named = (("matrix", integers), ("scales", scales), ("zeros", zeros))
        weights, steps, offsets = (self._constant(f"{block}.{name}", value) for name, value in named)
        return weights, steps, offsets


def _is_after_gelu(name: str) -> bool:
    return name.endswith(".gelu")
