"""Golden questions: what is written is read back, and a bad row is named."""

from pathlib import Path

import pytest

from search_eval.golden import BadQuestion, Gold, Question, of_row, read, to_row, write

QUESTIONS = [
    Question(
        "click-001", "어디서 옵션을 읽나?", (Gold("src/core.py", 12, 40), Gold("b.py")), "usage", "python", "click"
    ),
    Question("c-2", "plain", (Gold("a.py"),)),
]


def test_questions_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path / "q.jsonl", QUESTIONS)
    assert read(tmp_path / "q.jsonl") == QUESTIONS
    assert "어디서" in (tmp_path / "q.jsonl").read_text("utf-8")  # readable in a diff


def test_a_question_is_one_line_whatever_else_unicode_takes_for_an_end_of_line(tmp_path: Path) -> None:
    asked = [Question("a", "one\u2028two\x85three\nfour", (Gold("a.py"),)), QUESTIONS[1]]
    write(tmp_path / "q.jsonl", asked)
    assert read(tmp_path / "q.jsonl") == asked


def test_a_row_says_no_more_than_it_knows() -> None:
    assert to_row(QUESTIONS[1]) == {"id": "c-2", "query": "plain", "gold": [{"path": "a.py"}]}


def test_keys_of_others_are_left_alone() -> None:
    assert of_row({**to_row(QUESTIONS[0]), "ko": "한국어"}) == QUESTIONS[0]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"id": "a", "query": "q"}',
        '{"id": "a", "query": "q", "gold": []}',
        '{"id": "a", "query": " ", "gold": [{"path": "a.py"}]}',
        '{"id": "a", "query": "q", "gold": [{"path": ""}]}',
        '{"id": "a", "query": "q", "gold": [{"path": "a.py", "start_line": 5, "end_line": 4}]}',
        '{"id": "a", "query": "q", "gold": [{"path": "a.py", "start_line": 0, "end_line": 4}]}',
        '{"id": "a", "query": "q", "gold": ["a.py"]}',
    ],
)
def test_a_row_that_is_no_question_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "q.jsonl"
    write(path, QUESTIONS)
    path.write_text(path.read_text("utf-8") + "\n" + line + "\n", "utf-8")
    with pytest.raises(BadQuestion, match=r"q\.jsonl:4"):
        read(path)


def test_an_id_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "q.jsonl", [QUESTIONS[1], QUESTIONS[1]])
    with pytest.raises(BadQuestion, match=r"q\.jsonl:2: the id c-2 is there twice"):
        read(tmp_path / "q.jsonl")
