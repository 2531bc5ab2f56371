"""How a table comes to be, on a teacher small enough to see through."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from embedding_service.backends.base import Batch, Task
from embedding_service.backends.static_corpus import Source, is_held_out
from embedding_service.backends.static_distil import Teacher, distil
from embedding_service.backends.static_table import pool
from embedding_service.backends.tokenizer import TextTokenizer
from embedding_service.core.model import ModelSpec

WORDS = [f"w{number}" for number in range(200)]
DIM = 16


class WordsInContext:
    """Sums random vectors of words, and those of pairs of neighbours, which no table can know from words alone."""

    name, dim, tasks = "fake", DIM, frozenset[Task]({"embed"})

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._words = rng.standard_normal((len(WORDS) + 3, DIM)).astype(np.float32)
        self._inside = rng.standard_normal((len(WORDS) + 3, DIM)).astype(np.float32)

    def run(self, task: Task, batch: Batch) -> NDArray[np.float32]:
        # A word alone has one meaning, a word among others another: what a fit can learn, and the vocabulary cannot.
        rows = [self._words if len(ids) == 3 else self._inside for ids in batch.ids]
        return np.stack([row[list(ids[1:-1]) or [0]].mean(axis=0) for row, ids in zip(rows, batch.ids, strict=True)])


def make_teacher(spec: ModelSpec) -> Teacher:
    vocabulary = {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, **{word: 3 + index for index, word in enumerate(WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 0), ("[SEP]", 1)])
    return Teacher(WordsInContext(), TextTokenizer(spec, tokenizer), len(vocabulary), threads=2)


def spec_of() -> ModelSpec:
    return ModelSpec("fake", Path(), None, 64, "mean", (), {"vocab_size": len(WORDS) + 3}, "digest")


def sources(seed: int, count: int) -> list[Source]:
    """Files of ten lines of words, of which w0 is every third."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        lines = [" ".join(["w0", *rng.choice(WORDS, 2)]) for _ in range(10)]
        found.append(Source(f"{seed}-{number}.py", "\n".join(lines)))
    return found


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = vectors - vectors.mean(axis=0)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def test_a_token_that_is_everywhere_weighs_less() -> None:
    table = distil(make_teacher(spec_of()), sources(0, 4))  # too few to fit to
    lengths = np.linalg.norm(table[3:], axis=1)
    assert lengths[0] < 0.05 * np.median(lengths)


def test_special_tokens_have_a_direction_and_no_weight() -> None:
    table = distil(make_teacher(spec_of()), sources(0, 4))
    lengths = np.linalg.norm(table, axis=1)
    assert (lengths[:2] > 0).all()
    assert (lengths[:2] < 1e-4 * np.median(lengths)).all()


def test_the_fit_brings_texts_it_has_not_seen_nearer_to_the_model() -> None:
    teacher = make_teacher(spec_of())
    unseen = teacher.tokenizer.encode([source.text for source in sources(2, 200)], None)
    model = unit(teacher.backend.run("embed", Batch(unseen)))

    def nearness(table: NDArray[np.float32]) -> float:
        return float((unit(pool(table, unseen)) * model).sum(axis=1).mean())

    without, fitted = distil(teacher, []), distil(teacher, sources(1, 3000))
    assert nearness(without) < 0.1
    assert nearness(fitted) > 0.5


def test_what_is_held_out_is_not_fitted_to() -> None:
    held_out = [source for source in sources(1, 400) if is_held_out(source.path)]
    table = distil(make_teacher(spec_of()), held_out)
    alone = distil(make_teacher(spec_of()), [])
    # Weights differ, directions do not: nothing was fitted.
    cosines = (
        (table[3:] * alone[3:]).sum(axis=1) / np.linalg.norm(table[3:], axis=1) / np.linalg.norm(alone[3:], axis=1)
    )
    np.testing.assert_allclose(cosines, 1, atol=1e-5)


def test_progress_is_told() -> None:
    said: list[str] = []
    distil(make_teacher(spec_of()), sources(1, 100), said.append)
    assert "distilling: 203 of 203 tokens" in said
    assert said[-1] == "distilling: fitting the table"
