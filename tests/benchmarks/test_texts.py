"""The texts are of the stated lengths, and none comes twice."""

from pathlib import Path
from statistics import mean

from benchmarks.embedding.texts import WINDOW, Texts, mark


def test_no_text_comes_twice_even_where_the_same_part_of_the_supply_is_asked_for(texts: Texts) -> None:
    seen: list[str] = []
    for _round in range(3):
        for _server in range(3):
            seen += texts.chunks(700, start=509) + texts.queries(700, start=509)
    seen += texts.chunks(5000, start=0)  # more than there is code
    assert len(set(seen)) == len(seen)


def test_marks_are_distinct() -> None:
    assert len({mark(number) for number in range(100_000)}) == 100_000
    assert mark(61**4 - 1) != mark(61**3 - 1)


def test_chunks_are_code_of_179_tokens_on_average_and_differ_in_length(texts: Texts) -> None:
    lengths = [texts.tokens([chunk]) for chunk in texts.chunks(1000, start=0)]
    assert 174 < mean(lengths) < 184
    assert max(lengths) <= WINDOW
    assert min(lengths) < 130
    assert any("def " in chunk for chunk in texts.chunks(10, start=0))


def test_queries_have_ten_words_on_average(texts: Texts) -> None:
    counts = [len(query.split()) for query in texts.queries(600, start=0)]
    assert 9.5 <= mean(counts) <= 10.5
    assert min(counts) >= 8
    assert max(counts) <= 12


def test_servers_that_are_compared_get_texts_of_the_same_lengths(texts: Texts) -> None:
    ours, theirs = texts.chunks(64, start=320), texts.chunks(64, start=320)
    assert [texts.tokens([text]) for text in ours] == [texts.tokens([text]) for text in theirs]
    assert texts.tokens(texts.queries(64, start=7)) == texts.tokens(texts.queries(64, start=7))


def test_tokens_over_the_window_are_not_counted(texts: Texts) -> None:
    assert texts.tokens(["word " * 1000]) == WINDOW
    assert texts.tokens(["word"]) == 3


def test_two_runs_send_the_same(model_folder: Path) -> None:
    first, second = (Texts(model_folder / "tokenizer.json", chunks=64) for _ in range(2))
    assert first.chunks(64, start=3) == second.chunks(64, start=3)
