"""Weights on their way from safetensors to a graph's file, one at a time, so that no second copy of a model is held."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors import SafetensorError, safe_open

from embedding_service.backends.base import UnsupportedModel

Array = NDArray[np.float32]

FILE = "weights.bin"

# What is smaller stays in the graph itself, where ONNX Runtime needs shapes and axes for its optimisations.
_INLINE_BYTES = 1024

# A page: ONNX Runtime maps each tensor by itself, and a mapping starts at a page.
_ALIGNMENT = 4096


class Tensors:
    """The tensors of a safetensors file as float32, by name without a leading "bert."."""

    def __init__(self, path: Path):
        """Fails with UnsupportedModel where the file cannot be read."""
        self._path = path
        try:
            with safe_open(path, "numpy") as file:
                self._names = {name.removeprefix("bert."): name for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as exc:
            raise UnsupportedModel(f"the onnx backend cannot read {path}: {exc}") from exc

    def __getitem__(self, name: str) -> Array:
        """A copy of the tensor. Fails with UnsupportedModel where it is missing or of a type that numpy lacks."""
        if name not in self._names:
            raise UnsupportedModel(f"the onnx backend misses the weight {name}")
        try:
            # Opened for each tensor: the pages of a mapping that stays open would count as memory of this process.
            with safe_open(self._path, "numpy") as file:
                tensor: Array = file.get_tensor(self._names[name])
        except (SafetensorError, TypeError, KeyError, OSError) as exc:
            raise UnsupportedModel(f"the onnx backend cannot read {name} of {self._path}: {exc}") from exc
        return tensor.astype(np.float32, copy=False)


class WeightsFile:
    """Where a graph's constants are written; ONNX Runtime maps the file and does not copy it."""

    def __init__(self, folder: Path):
        """folder: where the graph will stand. Fails with OSError."""
        self._file = (folder / FILE).open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, name: str, value: NDArray[Any]) -> Any:
        """The TensorProto of a constant; its bytes are in the file unless they are few. Fails with OSError."""
        # Not np.ascontiguousarray: it makes a vector of a scalar, and Gather's answer then has a dimension too many.
        value = np.asarray(value, order="C")
        if value.nbytes < _INLINE_BYTES:
            return numpy_helper.from_array(value, name)
        offset = -(-self._file.tell() // _ALIGNMENT) * _ALIGNMENT
        self._file.seek(offset)
        value.tofile(self._file)
        tensor = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(value.dtype),
            dims=value.shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, said in (("location", FILE), ("offset", offset), ("length", value.nbytes)):
            tensor.external_data.add(key=key, value=str(said))
        return tensor
