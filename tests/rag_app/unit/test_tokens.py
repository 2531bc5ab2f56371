"""The identifier tokenizer, as a table."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_app.core import tokens
from rag_app.core.tokens import document_terms, query_term_ids, term_id, terms

TABLE = {
    "": "",
    "close": "close",
    "the Lock": "the lock",
    "i": "i",
    "template_folder": "templatefolder template folder",
    "templateFolder": "templatefolder template folder",
    "TemplateFolder": "templatefolder template folder",
    "TEMPLATE_FOLDER": "templatefolder template folder",
    "_private": "private",
    "__init__": "init",
    "_": "",
    "___": "",
    "HTTPServer": "httpserver http server",
    "parseHTTPResponse": "parsehttpresponse parse http response",
    "getURL": "geturl get url",
    "XMLHttpRequest": "xmlhttprequest xml http request",
    "utf8": "utf8 utf",
    "sha256": "sha256 sha 256",
    "base64_encode": "base64encode base 64 encode",
    "x1": "x1",
    "iPhone": "iphone phone",
    "404": "404",
    "3.14": "3 14",
    "content-type": "content type",
    "flask.app.Flask": "flask app flask",
    "Pool.close()": "pool close",
    "std::vector<int>": "std vector int",
    "src/lock_file.py": "src lockfile lock file py",
    "foo$bar": "foo bar",
    "naïve": "naïve",
    "größeÄndern": "größeändern größe ändern",
    "함수": "함수",
    "함수를": "함수를 함수 수를",
    "파일 열기": "파일 열기",
    "utf한글": "utf한글 utf 한글",
    "読み込む": "読み込む 読み み込 込む",
    "ПарсерФайла": "парсерфайла парсер файла",
    "a" * 100: "a" * 64,
}


@pytest.mark.parametrize(("text", "expected"), TABLE.items(), ids=lambda value: str(value)[:20] or "nothing")
def test_terms(text: str, expected: str) -> None:
    assert terms(text) == expected.split()


def test_repeats_are_kept_in_order() -> None:
    assert terms("close the close") == ["close", "the", "close"]


def test_ids_are_the_same_in_every_process_and_fit_32_bits() -> None:
    assert term_id("close") == 318865860
    assert 0 <= term_id("함수") < 2**32


def test_a_lone_surrogate_has_an_id_too() -> None:
    assert term_id("\ud800") >= 0


def test_a_chunk_is_found_by_its_path_and_symbol_as_well_as_its_text() -> None:
    counts = document_terms("src/pool.py", "Pool.close", "self.lock.release()")
    assert counts[term_id("pool")] == 2
    assert counts[term_id("release")] == 1


def test_counts_equal_those_of_terms() -> None:
    text = "def close_pool(self): pool = self.pool; closePool(pool)"
    assert document_terms("", "", text) == {term_id(t): terms(text).count(t) for t in set(terms(text))}


def test_a_query_asks_for_each_of_its_terms_once() -> None:
    assert query_term_ids("close_pool close") == {term_id("closepool"), term_id("close"), term_id("pool")}


@given(st.text(max_size=200))
def test_any_text_gives_lower_case_terms_without_blanks(text: str) -> None:
    found = terms(text)
    assert all(term and not term.isspace() for term in found)
    assert document_terms("", "", text).total() == len(found)


def test_it_reads_more_than_two_megabytes_a_second() -> None:
    text = "\n".join(path.read_text("utf-8") for path in Path(tokens.__file__).parent.glob("*.py")) * 20
    started = time.process_time()
    for begin in range(0, len(text), 1000):  # chunks are about this long
        document_terms("rag_app/core/tokens.py", "terms", text[begin : begin + 1000])
    assert len(text) / (time.process_time() - started) > 2_000_000 / 2  # half of it, for a coverage run
