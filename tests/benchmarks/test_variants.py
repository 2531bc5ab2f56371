"""Every way to run the model gives SentenceTransformer.encode's vectors, on a CPU with small batches."""

import copy
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.embedding.bert import Bert, Sizes, random_bert, read_bert
from benchmarks.embedding.gpu import embed, measure, micro_batches
from benchmarks.embedding.roof import Encoder
from benchmarks.embedding.texts import Texts
from benchmarks.embedding.variants import (
    Run,
    Variant,
    bucket,
    flash,
    graphs,
    one_by_one,
    pack,
    packed,
    packed_attention,
    padded,
    variants,
)

ROOT = Path(__file__).resolve().parents[2]

# Dynamo's tracing is real; what it would compile to needs a C++ compiler and a minute.
TRACED = variants(lambda function: torch.compile(function, dynamic=True, backend="eager"))


@pytest.fixture(scope="module")
def minilm(model_folder: Path) -> Bert:
    return read_bert(model_folder)


@pytest.fixture(scope="module")
def written(texts: Texts) -> list[str]:
    """Texts of very different lengths, out of order: queries, chunks, one word, one over the window."""
    return [*texts.chunks(1, 0), "lock", *texts.queries(2, 0), "word " * 400]


@pytest.fixture(scope="module")
def expected(written: list[str], model_folder: Path) -> Tensor:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(model_folder), device="cpu")
    return torch.from_numpy(model.encode(written))


@pytest.mark.parametrize("variant", TRACED, ids=lambda variant: variant.name)
def test_vectors_are_those_of_sentence_transformers(
    variant: Variant, minilm: Bert, texts: Texts, written: list[str], expected: Tensor
) -> None:
    run = variant.build(copy.deepcopy(minilm).to(variant.dtype))
    vectors = embed(run, texts.ids(written), 600, variant.name.startswith("packed"))
    cosine = torch.nn.functional.cosine_similarity(vectors, expected)
    if variant.dtype == torch.float32:
        assert (vectors - expected).abs().max() < 1e-5
    # bf16 keeps 8 bits of a number and fp16 11: each layer rounds by 0.4 % and 0.05 %.
    assert cosine.min() > (0.999 if variant.dtype == torch.bfloat16 else 0.99999)


@pytest.mark.parametrize("build", [padded, packed, graphs])
def test_in_float32_every_way_is_exact(
    build: Callable[[Bert], Run], minilm: Bert, texts: Texts, written: list[str], expected: Tensor
) -> None:
    vectors = embed(build(minilm), texts.ids(written), 600, build is packed)
    assert (vectors - expected).abs().max() < 1e-5


def test_a_text_does_not_see_its_neighbours_in_the_row(minilm: Bert, texts: Texts, written: list[str]) -> None:
    run, ids = packed(minilm), texts.ids(written)
    with torch.inference_mode():
        alone = torch.cat([run([one]) for one in ids])
        assert (run(ids) - alone).abs().max() < 1e-5


def test_a_shape_recorded_once_serves_batches_that_differ(minilm: Bert) -> None:
    run, plain = graphs(minilm), padded(minilm)
    first, second = [[101, 2000, 102], [101, 102]], [[101, 3000, 3001, 102], [101, 2002, 102], [101, 102]]
    assert bucket(first) == bucket(second) == (8, 32)
    with torch.inference_mode():
        kept = run(first)
        assert (run(second) - plain(second)).abs().max() < 1e-5
        assert (kept - plain(first)).abs().max() < 1e-5


def test_packing_says_where_each_token_belongs() -> None:
    batch = pack([[5, 6, 7], [8], [9, 10]], torch.device("cpu"))
    assert batch.ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert batch.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert batch.sequence.tolist() == [0, 0, 0, 1, 2, 2]
    assert batch.ends.tolist() == [0, 3, 4, 6]
    assert batch.ends.dtype == torch.int32
    assert batch.longest == 3


def test_micro_batches_hold_every_sequence_once_and_no_more_than_the_budget() -> None:
    batch = [[0] * length for length in (300, 5, 64, 33, 100, 7, 2000)]
    of_packed, of_padded = (list(micro_batches(batch, 400, is_packed)) for is_packed in (True, False))
    for cut in (of_packed, of_padded):
        assert sorted(index for chosen in cut for index in chosen) == list(range(7))
    assert all(sum(len(batch[index]) for index in chosen) <= 400 for chosen in of_packed if len(chosen) > 1)
    assert all(len(chosen) * -(-max(len(batch[i]) for i in chosen) // 32) * 32 <= 400 for chosen in of_padded[:-1])
    assert len(of_packed) < len(of_padded)


def test_flash_attention_is_called_as_this_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # It runs on CUDA only. Here: our arguments fit its signature, and mean what one_by_one means by them.
    from torch.nn.attention import varlen

    signature, batch = inspect.signature(varlen.varlen_attn), pack([[1, 2, 3], [4]], torch.device("cpu"))
    query = torch.randn(4, 2, 8)
    called: list[inspect.BoundArguments] = []

    def stand_in(*args: object, **kwargs: object) -> Tensor:
        called.append(signature.bind(*args, **kwargs))
        return one_by_one(query, query, query, batch)

    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    flash(query, query, query, batch)
    names = called[0].arguments
    assert names["cu_seq_q"].tolist() == names["cu_seq_k"].tolist() == [0, 3, 4]
    assert (names["max_q"], names["max_k"]) == (3, 3)
    assert packed_attention(torch.device("cuda"), torch.bfloat16) is flash
    assert packed_attention(torch.device("cuda"), torch.float32) is one_by_one
    assert packed_attention(torch.device("cpu"), torch.bfloat16) is one_by_one


def test_a_model_with_random_weights_runs_and_is_the_same_each_time() -> None:
    sizes = Sizes(vocabulary=100, hidden=32, intermediate=64, layers=2, heads=4)
    ids = [[1, 2, 3], [4, 5]]
    with torch.inference_mode():
        first, second = (padded(random_bert(sizes))(ids) for _ in range(2))
        assert torch.equal(first, second)
        assert (first - packed(random_bert(sizes))(ids)).abs().max() < 1e-5
    assert torch.isfinite(first).all()
    assert first.norm(dim=1) == pytest.approx(torch.ones(2), abs=1e-5)


def test_a_way_that_fails_is_told_and_the_others_are_measured(
    minilm: Bert, texts: Texts, written: list[str], model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Bert) -> Run:
        raise RuntimeError("no such kernel")

    batch = [np.array(ids, np.int32) for ids in texts.ids(written)]
    ways = [variants()[0], Variant("broken", torch.float32, fails)]
    rows = measure(minilm, Encoder.of(model_folder), batch, (600,), torch.device("cpu"), 1e12, ways)
    assert [(row.variant, row.cosine) for row in rows] == [("padded fp32", 1.0)]
    assert "broken failed: no such kernel" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_it_says_so_and_ends_well() -> None:
    command = [sys.executable, "-m", "benchmarks.embedding.gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert "no GPU" in lines[0]
    assert json.loads(lines[1]) == {"gpu": None}
