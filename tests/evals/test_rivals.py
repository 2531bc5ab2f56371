"""What the product is compared with does what it is said to do; a weak opponent would flatter."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from evals.core.task import Batch
from evals.rivals.llamaindex import LlamaIndexPipeline, Vectors, sparse_documents, sparse_queries
from evals.rivals.ripgrep import Ripgrep, find, stemmed, terms
from search_eval.golden import Gold, Question
from tests.support.fake_tei import FakeTei
from tests.support.live import live

FILES = {
    "src/retry.py": "import time\nclass RetryPolicy:\n    def wait_longer(self, attempt):\n        return 2**attempt\n",
    "src/use.py": "from src.retry import RetryPolicy\n\npolicy = RetryPolicy()\n",
    "tests/test_retry.py": "from src.retry import *\ndef test_wait_longer():\n    RetryPolicy().wait_longer(1)\n",
    "README.md": "# Retries\n\nRetryPolicy waits longer after each attempt.\n",
}


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return Batch("repo", tmp_path, "one", [])


def ask(query: str) -> Question:
    return Question("q", query, (Gold("src/retry.py"),))


@pytest.fixture
def ripgrep() -> Ripgrep:
    try:
        return Ripgrep(find())
    except FileNotFoundError as exc:
        pytest.skip(str(exc))


@pytest.mark.parametrize("query", ["RetryPolicy", "wait_longer", "how much longer does it wait at each attempt?"])
def test_ripgrep_puts_the_definition_before_its_callers_tests_and_docs(
    ripgrep: Ripgrep, batch: Batch, query: str
) -> None:
    ripgrep.prepare(batch, "")
    assert ripgrep.rank(ask(query)).found[0].path == "src/retry.py"


def test_ripgrep_puts_tests_first_where_they_are_asked_for(ripgrep: Ripgrep, batch: Batch) -> None:
    ripgrep.prepare(batch, "")
    assert ripgrep.rank(ask("test for RetryPolicy wait_longer")).found[0].path == "tests/test_retry.py"


def test_ripgrep_finds_nothing_where_there_is_nothing(ripgrep: Ripgrep, batch: Batch) -> None:
    ripgrep.prepare(batch, "")
    assert ripgrep.rank(ask("zyzzyva")).found == ()
    assert ripgrep.rank(ask("how does it do that?")).found == ()


def test_terms_are_identifiers_and_their_parts_without_stop_words() -> None:
    found = {term.text: term.weight for term in terms("where is RetryPolicy.wait_longer used")}
    assert found == {"retrypolicy": 1.0, "retr": 0.4, "polic": 0.4, "wait_longer": 1.0, "wait": 0.4, "long": 0.4}
    assert [stemmed(word) for word in ("retries", "retried", "connections", "class")] == [
        "retr",
        "retr",
        "connection",
        "clas",
    ]


class Counting:
    """Vectors from a text's hash: the same text, the same vector."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def of(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += texts
        return [[byte / 255 - 0.5 for byte in hashlib.sha256(text.encode()).digest()] for text in texts]


def test_the_pipeline_finds_by_words_and_tells_lines(batch: Batch) -> None:
    pipeline = LlamaIndexPipeline(Counting())  # type: ignore[arg-type]
    pipeline.prepare(batch, "")
    found = pipeline.rank(ask("attempt time class")).found
    assert {one.path for one in found} == set(FILES)
    first = found[0]
    assert (first.path, first.start_line, first.end_line) == ("src/retry.py", 1, 4)


def test_only_what_changed_is_split_and_embedded_again(batch: Batch) -> None:
    vectors = Counting()
    pipeline = LlamaIndexPipeline(vectors)  # type: ignore[arg-type]
    pipeline.prepare(batch, "")
    vectors.asked.clear()
    (batch.root / "src/use.py").unlink()
    (batch.root / "README.md").write_text("# Other\n\nzyzzyva\n")
    pipeline.prepare(Batch("repo", batch.root, "two", []), "")
    assert len(vectors.asked) == 1
    assert "zyzzyva" in vectors.asked[0]
    assert "README.md" in vectors.asked[0]  # the path is embedded, as SimpleDirectoryReader's documents have it
    found = {one.path for one in pipeline.rank(ask("zyzzyva policy")).found}
    assert found == set(FILES) - {"src/use.py"}


@pytest.mark.parametrize(
    "other", [{"identity": "cd" * 16}, {"model_sha": "def"}, {"model_dtype": "float16"}, {"max_input_length": 512}]
)
def test_vectors_of_another_model_are_not_taken_for_this_ones(tmp_path: Path, other: dict[str, object]) -> None:
    one = {"identity": "ab" * 16} if "identity" in other else {}
    kept: list[list[float]] = []
    for told in (one, one, other):
        tei = FakeTei(max_client_batch_size=32, extra_info=dict(told), vector=lambda text: [float(len(kept)), 0.5])
        with live(tei.app()) as url:
            vectors = Vectors(url, tmp_path / "vectors.sqlite")
            kept.append(vectors.of(["where"])[0])
            vectors.of(["where"])
            assert tei.paths.count("/info") == 1
    assert kept == [[0.0, 0.5], [0.0, 0.5], [2.0, 0.5]]


def test_sparse_weights_saturate_and_query_terms_count_once() -> None:
    [indices], [values] = sparse_documents(["wait wait wait policy"])
    assert len(indices) == 2
    assert values[1] < values[0] < 3 * values[1]
    [asked], [weights] = sparse_queries(["the policy, policy!"])
    assert asked == [indices[1]]
    assert weights == [1.0]
