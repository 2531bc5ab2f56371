"""Questions drawn from code: what a file gives, and that the same code gives the same ones."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.search.questions import KINDS, TooFew, draw, of_file

ROOT = Path(__file__).resolve().parents[2]

POOL = '''
class Pool:
    """Connections that are open, and the ones that wait to be used again."""

    def close_idle_connections(self, seconds):
        """Close."""
        if seconds < 0:
            raise ValueError("seconds must not be negative")
        raise errors.PoolError(f"the pool has {seconds} seconds left")
        raise TypeError("cannot wait for %s seconds" % seconds)

    def __enter__(self):
        raise Closed

def get(url):
    raise ValueError(message)
'''


def test_names_words_messages_and_first_lines_are_asked() -> None:
    found = of_file(POOL)
    assert found["words"] == ["close idle connections"]
    assert found["sentence"] == ["Connections that are open, and the ones that wait to be used again."]
    assert found["error"] == [
        "ValueError: seconds must not be negative",
        "PoolError: the pool has 'x' seconds left",
        "TypeError: cannot wait for x seconds",
    ]


def test_a_method_is_asked_with_its_class_or_alone_and_a_short_or_special_name_is_not_asked() -> None:
    assert [name.rpartition(".")[2] for name in of_file(POOL)["symbol"]] == ["Pool", "close_idle_connections"]
    methods = "".join(f"    def number_{n}(self): ...\n" for n in range(20))
    names = of_file(f"class Counter:\n{methods}")["symbol"][1:]
    assert 0 < sum(name.startswith("Counter.") for name in names) < 20


def test_a_file_that_is_not_python_gives_nothing() -> None:
    assert of_file("def broken(:\n") == {kind: [] for kind in KINDS}


def test_all_questions_differ_and_each_kind_has_as_many(tmp_path: Path) -> None:
    questions = draw([ROOT / "service_kit", ROOT / "rag_app"], 42)
    assert Counter(question.kind for question in questions) == {"symbol": 11, "words": 11, "error": 10, "sentence": 10}
    assert len({question.text.casefold() for question in questions}) == 42
    assert len({(question.kind, question.path) for question in questions}) == 42


def test_the_same_code_gives_the_same_questions_wherever_it_lies(tmp_path: Path) -> None:
    here = draw([ROOT / "service_kit"], 20)
    shutil.copytree(ROOT / "service_kit", tmp_path / "service_kit")
    assert draw([tmp_path / "service_kit"], 20) == here


def test_tests_are_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "pool.py").write_text(POOL)
    with pytest.raises(TooFew, match="symbol"):
        draw([tmp_path], 4)
    (tmp_path / "pool.py").write_text(POOL)
    # pytest's folder is named after the test, but only what is below the root's own name counts.
    root = tmp_path.rename(tmp_path.with_name("plain"))
    assert {question.path for question in draw([root], 4)} == {"pool.py"}
