"""What is rounded to int8, and that its products are the same integers on every chip."""

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from embedding_service.backends.onnx_quantize import InputRange, quantize_weights, smoothing


@pytest.fixture
def matrix() -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(96, 40)).astype(np.float32)


def test_weights_are_near_what_they_were_and_zero_columns_stay_zero(matrix: NDArray[np.float32]) -> None:
    matrix[:, 5] = 0
    integers, scales = quantize_weights(matrix)
    assert integers.dtype == np.int8
    assert np.abs(integers * scales - matrix).max() <= scales.max() / 2 + 1e-6
    assert not integers[:, 5].any()


@pytest.mark.parametrize("rows", [96, 95])
def test_two_neighbours_never_exceed_128_together(matrix: NDArray[np.float32], rows: int) -> None:
    sizes = np.abs(quantize_weights(matrix[:rows])[0].astype(int))
    pairs = sizes[0 : rows - 1 : 2] + sizes[1::2]
    assert 120 <= pairs.max() <= 128
    assert sizes.max() > 64  # more than the 7 bits that would make any pair fit


def test_the_largest_inputs_do_not_saturate_on_this_chip(matrix: NDArray[np.float32]) -> None:
    """Without VNNI a product of two neighbours is summed in 16 bits; this fails there if the pairs are too large."""
    integers, _ = quantize_weights(np.abs(matrix))
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [None, 96])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, None)],
        [numpy_helper.from_array(integers, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (product,) = session.run(None, {"a": np.full((7, 96), 255, np.uint8)})
    np.testing.assert_array_equal(product, np.full((7, 96), 255) @ integers.astype(int))


def test_channels_that_stand_out_are_made_smaller_by_powers_of_two(matrix: NDArray[np.float32]) -> None:
    reach = np.ones(96, np.float32)
    reach[7] = 30
    factors = smoothing(InputRange(-reach, reach, reach**2 / 10), matrix)
    assert factors[7] >= 8
    assert (np.delete(factors, 7) == 1).all()
    np.testing.assert_array_equal(np.log2(factors), np.round(np.log2(factors)))


def test_the_last_bits_of_what_was_seen_change_nothing(matrix: NDArray[np.float32]) -> None:
    reach = np.random.default_rng(4).lognormal(size=96).astype(np.float32)
    other = reach * np.float32(1 + 1e-6)
    factors, others = (smoothing(InputRange(-seen, seen, seen**2), matrix) for seen in (reach, other))
    np.testing.assert_array_equal(factors, others)
