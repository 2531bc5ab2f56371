"""Questions made of code: all different, the same every time, and about what the code says."""

from pathlib import Path

import pytest

from tests.load.facts import Fact, facts
from tests.load.questions import SHARES, canonical, corpus_facts, questions

PYTHON = '''"""Connections that are kept."""

class Pool:
    """Keeps connections that were opened."""

    def close(self):
        # Waits until all borrowers have come back.
        raise RuntimeError("the pool was closed before it was opened")

def open_pool():
    return Pool()
'''
TYPESCRIPT = """/**
 * Emits values of the source until a notifier emits.
 */
export class Taker<T> {
  public takeUntil(notifier: string): void {
    throw new TypeError('notifier is not an observable at all');
  }
}
export const takeLast = (count: number) => count;
"""
JAVA = """public class Loader {
  // Finds every class that the archive holds.
  public static Class<?> findEveryClass(String name) { return null; }
}
"""
CPP = """void JPContext::attachCurrentThread(int flags)
{
}
"""


@pytest.mark.parametrize(
    ("path", "source", "names"),
    [
        ("pool.py", PYTHON, ["Pool", "Pool.close", "open_pool"]),
        ("take.ts", TYPESCRIPT, ["Taker", "Taker.takeUntil", "takeLast"]),
        ("Loader.java", JAVA, ["Loader", "Loader.findEveryClass"]),
        ("context.cpp", CPP, ["JPContext::attachCurrentThread"]),
    ],
)
def test_names_are_found_in_every_language_of_the_corpus(path: str, source: str, names: list[str]) -> None:
    assert [fact.text for fact in facts(path, source) if fact.kind == "name"] == names


def test_sentences_and_messages_know_what_they_are_about() -> None:
    found = list(facts("pool.py", PYTHON))
    assert Fact("sentence", "pool.py", "Pool", "Keeps connections that were opened.") in found
    assert Fact("sentence", "pool.py", "Pool.close", "Waits until all borrowers have come back.") in found
    assert Fact("message", "pool.py", "Pool.close", "the pool was closed before it was opened") in found


def test_licences_and_code_are_no_sentences() -> None:
    lines = (
        "# Copyright 2020 Some Company\n",
        "# Returns = value of the thing\n",
        "# See NOTICE file for more details\n",
    )
    source = "".join(lines)
    assert [fact.kind for fact in facts("a.py", source)] == ["file"]


def many() -> list[Fact]:
    return [
        fact
        for number in range(300)
        for fact in facts(
            f"src/part{number % 7}/file{number}.py",
            f'class Thing{number}:\n    """Holds the number {number} and what it means to others."""\n'
            f'    def method{number}(self):\n        raise ValueError("the number {number} is not a thing")\n',
        )
    ]


def test_questions_are_all_different_whatever_their_case_and_blanks() -> None:
    made = questions(many(), 3000)
    assert len(made) == 3000
    assert len({canonical(text) for text in made}) == 3000
    assert canonical("Where  is X defined? ") == canonical("where is x defined")


def test_questions_are_the_same_every_time_whatever_the_order_of_the_facts() -> None:
    assert questions(many(), 500) == questions(many()[::-1], 500)
    assert questions(many(), 500) != questions(many(), 500, seed=6)


def test_every_kind_of_question_is_asked_by_its_share() -> None:
    made = questions(many(), 1000)
    paths = [text for text in made if ".py" in text and ("/" in text or "what is file" in text)]
    assert len(paths) >= 1000 * SHARES["path"] // 100 * 0.8
    messages = [text for text in made if "is not a thing" in text]
    assert len(messages) == 1000 * SHARES["message"] // 100


def test_a_corpus_that_is_too_small_is_told() -> None:
    with pytest.raises(ValueError, match="distinct questions, 100000 are wanted"):
        questions(many(), 100_000)


def test_facts_of_a_folder_come_by_path(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text(PYTHON)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c.java").write_text(JAVA)
    assert [fact.path for fact in corpus_facts([tmp_path]) if fact.kind == "file"] == ["a/c.java", "b.py"]
