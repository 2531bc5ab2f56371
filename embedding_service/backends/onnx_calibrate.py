"""Writes the int8 graph: runs the model in full precision for the ranges, then both for how well they agree."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray

from embedding_service.backends.base import TokenIds
from embedding_service.backends.onnx_quantize import CalibratingWriter, InputRange, QuantizedWriter, merged
from embedding_service.backends.onnx_runtime import FACTS
from embedding_service.backends.onnx_weights import WeightsFile
from embedding_service.backends.samples import SAMPLES
from embedding_service.backends.tokenizer import load_tokenizer
from embedding_service.core.model import INT8_METHOD, ModelSpec

# Lengths of the calibration's sequences, over and over. Words drawn from the vocabulary give the ranges of real code to
# a tenth, need no text, and are the same on every machine.
_LENGTHS = (3, 10, 40, 100, 180, 254)
_SEQUENCES = 24


def write_quantized_graph(spec: ModelSpec, folder: Path) -> None:
    """Write model.onnx, its weights and quantization.json (what /info tells) into an existing folder.

    spec: as for write_graph. Takes about 2 CPU-s for the default model. Fails with UnsupportedModel or ModelError.
    """
    tokenizer = load_tokenizer(spec)
    samples = tokenizer.encode(SAMPLES, "right")
    (empty,) = tokenizer.encode([""], "right")
    with TemporaryDirectory(dir=folder.parent) as scratch:
        with WeightsFile(Path(scratch)) as file:
            writer = CalibratingWriter(spec, file)
            onnx.save_model(writer.model(), f"{scratch}/model.onnx")
        session = _session(Path(scratch))
        seen = _ranges(session, writer.taps, _random_sequences(spec, empty))
        exact = _vectors(session, samples)
        del session
    with WeightsFile(folder) as file:
        onnx.save_model(QuantizedWriter(spec, file, seen).model(), str(folder / "model.onnx"))
    cosines = (_vectors(_session(folder), samples) * exact).sum(axis=1)
    (folder / FACTS).write_text(json.dumps(_facts(cosines)))


def _facts(cosines: NDArray[np.float32]) -> dict[str, Any]:
    return {
        "dtype": "int8",
        "method": INT8_METHOD,
        "batch_invariant": True,
        "mean_cosine": round(float(cosines.mean()), 5),
        "min_cosine": round(float(cosines.min()), 5),
        "texts": len(cosines),
    }


def _random_sequences(spec: ModelSpec, empty: TokenIds) -> list[TokenIds]:
    """Sequences of words of the whole vocabulary, between the special tokens of the `empty` text."""
    # Not np.random: its streams may change from one numpy to the next, and vectors would with them.
    state, drawn = 1, []
    for _ in range(sum(_LENGTHS) * -(-_SEQUENCES // len(_LENGTHS))):
        state = state * 6364136223846793005 % 2**64 + 1442695040888963407
        drawn.append((state >> 33) % spec.vocab_size)
    middle, sequences = len(empty) // 2, []
    for number in range(_SEQUENCES):
        length = min(_LENGTHS[number % len(_LENGTHS)], spec.max_tokens - len(empty))
        sequences.append([*empty[:middle], *drawn[:length], *empty[middle:]])
        drawn = drawn[length:]
    return sequences


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
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def _feed(ids: TokenIds) -> dict[str, NDArray[Any]]:
    return {"input_ids": np.array([ids], np.int64), "lengths": np.array([len(ids)], np.int32)}


def _session(folder: Path) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # its blocks would be the start's peak of memory
    return ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
