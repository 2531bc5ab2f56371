"""Ways to run an encoder on token ids, as functions of the device: padded, compiled, as CUDA graphs, packed."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.embedding.bert import Bert, Packed, PackedAttention, Padded

Batch = Sequence[Sequence[int] | NDArray[np.int32]]  # token ids of each text
Run = Callable[[Batch], Tensor]  # -> (n, hidden) unit vectors on the device
Compiler = Callable[[Callable[..., Any]], Callable[..., Any]]

# Shapes that CUDA graphs are captured for: lengths by 32 waste 16 tokens a text at most on average, and give 8 graphs
# for the window of 256; rows by 8, under a hundredth of a batch that fills a GPU.
BUCKET_TOKENS, BUCKET_ROWS = 32, 8


@dataclass(frozen=True, slots=True)
class Variant:
    """One way. build: gives the function for a model that is on its device in `dtype` already."""

    name: str
    dtype: torch.dtype
    build: Callable[[Bert], Run]


def variants(compiler: Compiler | None = None) -> list[Variant]:
    """All ways. compiler: torch.compile for changing shapes, unless told otherwise."""
    compiled = compiler or (lambda function: torch.compile(function, dynamic=True))
    half = [("fp16", torch.float16), ("bf16", torch.bfloat16)]
    return [
        Variant("padded fp32", torch.float32, padded),
        *(Variant(f"padded {name}", dtype, padded) for name, dtype in half),
        Variant("padded bf16 graphs", torch.bfloat16, graphs),
        *(Variant(f"packed {name}", dtype, packed) for name, dtype in half),
        Variant("padded bf16 compiled", torch.bfloat16, lambda bert: padded(bert, compiled)),
        Variant("packed bf16 compiled", torch.bfloat16, lambda bert: packed(bert, compiled)),
    ]


def padded(bert: Bert, compiler: Compiler = lambda function: function) -> Run:
    """Rows padded to the longest."""
    forward = compiler(bert.padded)

    def run(batch: Batch) -> Tensor:
        vectors: Tensor = forward(pad(batch, _device(bert)))
        return vectors

    return run


def packed(bert: Bert, compiler: Compiler = lambda function: function) -> Run:
    """One row of all tokens, attention within each sequence."""
    attention = packed_attention(_device(bert), next(bert.parameters()).dtype)
    forward = compiler(bert.packed)

    def run(batch: Batch) -> Tensor:
        vectors: Tensor = forward(pack(batch, _device(bert)), attention)
        return vectors

    return run


def graphs(bert: Bert) -> Run:
    """Padded to a few shapes, for each of which the kernels' launches are recorded once. Without CUDA: just padded."""
    recorded: dict[tuple[int, int], tuple[Padded, Callable[[], Tensor]]] = {}

    def run(batch: Batch) -> Tensor:
        shape = bucket(batch)
        if shape not in recorded:
            recorded[shape] = _record(bert, shape)
        inputs, replay = recorded[shape]
        filled = pad(batch, _device(bert), shape)
        inputs.ids.copy_(filled.ids)
        inputs.mask.copy_(filled.mask)
        return replay()[: len(batch)].clone()  # the next replay writes to the same memory

    return run


def bucket(batch: Batch) -> tuple[int, int]:
    """Rows and columns to pad to: the next multiples of BUCKET_ROWS and BUCKET_TOKENS."""
    return round_up(len(batch), BUCKET_ROWS), round_up(max(map(len, batch)), BUCKET_TOKENS)


def round_up(number: int, step: int) -> int:
    """The smallest multiple of `step` that is not below `number`."""
    return -(-number // step) * step


def _record(bert: Bert, shape: tuple[int, int]) -> tuple[Padded, Callable[[], Tensor]]:
    inputs = pad([[0] * shape[1]] * shape[0], _device(bert))
    if _device(bert).type != "cuda":
        return inputs, lambda: bert.padded(inputs)
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what kernels set up at their first run cannot be recorded
        for _ in range(3):
            bert.padded(inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = bert.padded(inputs)

    def replay() -> Tensor:
        graph.replay()
        return output

    return inputs, replay


def pad(batch: Batch, device: torch.device, shape: tuple[int, int] | None = None) -> Padded:
    """As rows, on the device. shape: at least the batch's; a row too many has one token, so that nothing is NaN."""
    rows, columns = shape or (len(batch), max(map(len, batch)))
    lengths = np.zeros(rows, np.int64)
    lengths[: len(batch)] = [len(sequence) for sequence in batch]
    ids, places = np.zeros((rows, columns), np.int64), np.arange(columns)
    ids[places < lengths[:, None]] = np.concatenate(batch)
    return Padded(_moved(ids, device), _moved(places < np.maximum(lengths, 1)[:, None], device))


def pack(batch: Batch, device: torch.device) -> Packed:
    """As one row, on the device."""
    lengths = np.array([len(sequence) for sequence in batch])
    ends = np.concatenate([[0], lengths.cumsum()])  # (n + 1,)
    return Packed(
        ids=_moved(np.concatenate(batch).astype(np.int64), device),
        positions=_moved(np.arange(ends[-1]) - np.repeat(ends[:-1], lengths), device),
        sequence=_moved(np.repeat(np.arange(len(batch)), lengths), device),
        ends=_moved(ends.astype(np.int32), device),
        longest=int(lengths.max()),
    )


def _moved(values: NDArray[Any], device: torch.device) -> Tensor:
    """On the device. Through pinned memory, or the CPU would wait for all that the GPU has still to do."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def packed_attention(device: torch.device, dtype: torch.dtype) -> PackedAttention:
    """torch's varlen_attn where it runs (FlashAttention: CUDA, half precision), else one sequence after the other."""
    if device.type == "cuda" and dtype in (torch.float16, torch.bfloat16):
        return flash
    return one_by_one


def flash(query: Tensor, key: Tensor, value: Tensor, batch: Packed) -> Tensor:
    """By torch.nn.attention.varlen (2.10 and later), which reads the ends and never builds a mask."""
    from torch.nn.attention.varlen import varlen_attn

    # Slices of one (tokens, 3, heads, head size): the kernel wants the last dimension dense only.
    attended = varlen_attn(query, key, value, batch.ends, batch.ends, batch.longest, batch.longest)
    assert isinstance(attended, Tensor)
    return attended


def one_by_one(query: Tensor, key: Tensor, value: Tensor, batch: Packed) -> Tensor:
    """By a call for each sequence: for CPUs, where it is right and nobody waits for it."""
    attended: list[Tensor] = []
    ends = batch.ends.tolist()
    for start, end in itertools.pairwise(ends):
        q, k, v = (part[start:end].transpose(0, 1)[None] for part in (query, key, value))  # (1, heads, length, size)
        attended.append(functional.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1))
    return torch.cat(attended)


def _device(bert: Bert) -> torch.device:
    return next(bert.parameters()).device
