import pytest

from evals.ragas.sentences import Sentence, sentences


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The lock is taken in `acquire` [1].", [("The lock is taken in `acquire`.", (1,))]),
        ("It waits. [2] Then it fails [1][3].", [("It waits.", (2,)), ("Then it fails.", (1, 3))]),
        ("It reads [1] and writes [2], then [1] again.", [("It reads and writes, then again.", (1, 2))]),
        ("See `a.b()` in v3.11, e.g. Python. Yes!", [("See `a.b()` in v3.11, e.g. Python.", ()), ("Yes!", ())]),
        ("- one [1]\n- two\n3. three [2]", [("one", (1,)), ("two", ()), ("three", (2,))]),
        ("It goes\nover two lines [1].\n\nNext one.", [("It goes over two lines.", (1,)), ("Next one.", ())]),
        ("잠금은 여기서 잡힌다 [1]. 다음에 풀린다.", [("잠금은 여기서 잡힌다.", (1,)), ("다음에 풀린다.", ())]),
        ("It retries (at most twice.) [4]", [("It retries (at most twice.)", (4,))]),
    ],
)
def test_an_answer_falls_into_sentences_with_what_each_cites(
    answer: str, expected: list[tuple[str, tuple[int, ...]]]
) -> None:
    assert sentences(answer) == [Sentence(text, cites) for text, cites in expected]


def test_an_index_in_code_is_no_citation() -> None:
    assert sentences("The first is `rows[1]` [2].") == [Sentence("The first is `rows[1]`.", (2,))]


def test_code_blocks_and_headings_are_no_sentences() -> None:
    answer = "## How\n\nLike this [1]:\n\n````py\n```\nx = rows[3]. It is.\n````\n\nDone."
    assert [one.text for one in sentences(answer)] == ["Like this:", "Done."]


def test_markers_alone_belong_to_the_sentence_before_them() -> None:
    assert sentences("It holds a lock.\n\n[1][2]") == [Sentence("It holds a lock.", (1, 2))]
    assert sentences("[1]") == []
