"""Writes the int8 graph: runs the model in full precision for the ranges, then both for how well they agree."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray

from embedding_service.backends.base import TokenIds
from embedding_service.backends.onnx_quantize import CalibratingWriter, InputRange, QuantizedWriter, merged
from embedding_service.backends.onnx_weights import WeightsFile
from embedding_service.backends.samples import SAMPLES
from embedding_service.backends.tokenizer import load_tokenizer
from embedding_service.core.model import INT8_METHOD, ModelSpec

# The calibration's sequences: words drawn from the vocabulary, in these lengths over and over, and as many sequences of
# one word said 48 times. They need no text and are the same on every machine. The first give every LayerNorm the range
# that code gives it, to a tenth; but attention averages over them, so that its output stays small, where one word alone
# gives the bare value: without the second kind, "= = = …" came out at cosine 0.957, with it at 0.996.
_LENGTHS = (3, 10, 40, 100, 180, 254)
_SEQUENCES = 24
_REPEATED = 48


def write_quantized_graph(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    """Write model.onnx and its weights into an existing folder, and return what /info tells of them.

    spec: as for write_graph. Takes 2 CPU-s for the default model. Fails with UnsupportedModel or ModelError.
    """
    tokenizer = load_tokenizer(spec)
    samples = tokenizer.encode(SAMPLES, "right")
    (empty,) = tokenizer.encode([""], "right")
    with TemporaryDirectory(dir=folder.parent) as scratch:
        with WeightsFile(Path(scratch)) as file:
            writer = CalibratingWriter(spec, file)
            onnx.save_model(writer.model(), f"{scratch}/model.onnx")
        session = _session(Path(scratch))
        seen = _ranges(session, writer.taps, _calibration(spec, empty))
        exact = _vectors(session, samples)
        del session
    with WeightsFile(folder) as file:
        onnx.save_model(QuantizedWriter(spec, file, seen).model(), str(folder / "model.onnx"))
    cosines = (_vectors(_session(folder), samples) * exact).sum(axis=1)
    return {
        "dtype": "int8",
        "method": INT8_METHOD,
        "batch_invariant": True,
        "mean_cosine": round(float(cosines.mean()), 5),
        "min_cosine": round(float(cosines.min()), 5),
        "texts": len(cosines),
    }


def _calibration(spec: ModelSpec, empty: TokenIds) -> list[TokenIds]:
    """Sequences of words of the whole vocabulary, between the special tokens of the `empty` text."""
    words = _draws(spec.vocab_size)
    room, middle = spec.max_tokens - len(empty), len(empty) // 2
    sequences: list[TokenIds] = []
    for number in range(_SEQUENCES):
        drawn = list(islice(words, min(_LENGTHS[number % len(_LENGTHS)], room)))
        repeated = [next(words)] * min(_REPEATED, room)
        sequences += ([*empty[:middle], *body, *empty[middle:]] for body in (drawn, repeated))
    return sequences


def _draws(below: int) -> Iterator[int]:
    # Not numpy's generator: its stream may change from one release to the next, and vectors would with it.
    state = 1
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64  # Knuth's MMIX
        yield (state >> 33) % below


def _ranges(
    session: Any, taps: dict[str, tuple[str, str, str]], sequences: Sequence[TokenIds]
) -> dict[str, InputRange]:
    names = [name for tap in taps.values() for name in tap]
    runs = [dict(zip(names, session.run(names, _feed(ids)), strict=True)) for ids in sequences]
    rows = sum(map(len, sequences))
    return {
        block: merged([(run[low], run[high], run[power]) for run in runs], rows)
        for block, (low, high, power) in taps.items()
    }


def _vectors(session: Any, sequences: Sequence[TokenIds]) -> NDArray[np.float32]:
    """(n, dim), of length 1; one text at a time, so that there is no padding."""
    pooled = np.concatenate([session.run(["vectors"], _feed(ids))[0] for ids in sequences])
    unit: NDArray[np.float32] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    return unit


def _feed(ids: TokenIds) -> dict[str, NDArray[Any]]:
    return {"input_ids": np.array([ids], np.int64), "lengths": np.array([len(ids)], np.int32)}


def _session(folder: Path) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # This is the peak of memory of a first start: neither blocks that are kept nor a second copy of each matrix.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    return ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
