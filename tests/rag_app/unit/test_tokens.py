"""The identifier tokenizer, as a table."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_app.core import tokens
from rag_app.core.tokens import document_terms, query_term_ids, query_terms, stem, term_id, terms

TABLE = {
    "": "",
    "close": "clos",
    "the Lock": "the lock",
    "i": "i",
    "template_folder": "templatefolder templat folder",
    "templateFolder": "templatefolder templat folder",
    "TemplateFolder": "templatefolder templat folder",
    "TEMPLATE_FOLDER": "templatefolder templat folder",
    "_private": "privat",
    "__init__": "init",
    "_": "",
    "___": "",
    "HTTPServer": "httpserver http server",
    "parseHTTPResponse": "parsehttprespons pars http respons",
    "getURL": "geturl get url",
    "XMLHttpRequest": "xmlhttprequest xml http request",
    "utf8": "utf8 utf",
    "sha256": "sha256 sha 256",
    "base64_encode": "base64encode base 64 encod",
    "x1": "x1",
    "iPhone": "iphon phon",
    "404": "404",
    "3.14": "3 14",
    "content-type": "content type",
    "flask.app.Flask": "flask app flask",
    "Pool.close()": "pool clos",
    "std::vector<int>": "std vector int",
    "src/lock_file.py": "src lockfil lock file py",
    "foo$bar": "foo bar",
    "naïve": "naïve",
    "größeÄndern": "größeändern größe ändern",
    "함수": "함수",
    "함수를": "함수를 함수 수를",
    "파일 열기": "파일 열기",
    "größe_max": "größemax größe max",
    "utf한글": "utf한글 utf 한글",
    "読み込む": "読み込む 読み み込 込む",
    "ПарсерФайла": "парсерфайла парсер файла",
    "a" * 100: "a" * 64,
}


@pytest.mark.parametrize(("text", "expected"), TABLE.items(), ids=lambda value: str(value)[:20] or "nothing")
def test_terms(text: str, expected: str) -> None:
    assert terms(text) == expected.split()


@pytest.mark.parametrize(
    "family",
    [
        "close closes closed closing",
        "parse parses parsed parsing",
        "run running",
        "map maps mapped mapping",
        "call calls called calling",
        "setting settings",
        "query queries",
        "class classes",
        "index indexes indexed indexing",
        "cache caches caching cached",
        "match matches matching",
    ],
)
def test_a_word_meets_its_plural_and_its_forms(family: str) -> None:
    assert len({stem(word) for word in family.split()}) == 1


@pytest.mark.parametrize(
    "word", ["class", "status", "thing", "need", "speed", "bus", "py", "utf8", "größen", "is", "key"]
)
def test_what_only_looks_like_a_form_stays(word: str) -> None:
    assert stem(word) == word


def test_a_query_leaves_the_words_of_its_grammar_out_unless_it_has_no_others() -> None:
    assert query_terms("how does this open the pool") == {"open", "pool"}
    assert query_terms("what is this") == set(terms("what is this"))
    assert query_terms("") == frozenset()


def test_repeats_are_kept_in_order() -> None:
    assert terms("close the close") == ["clos", "the", "clos"]


def test_ids_are_the_same_in_every_process_and_fit_32_bits() -> None:
    assert term_id("close") == 318865860
    assert 0 <= term_id("함수") < 2**32


def test_a_lone_surrogate_has_an_id_too() -> None:
    assert term_id("\ud800") >= 0


def test_a_chunk_is_found_by_its_path_and_symbol_as_well_as_its_text() -> None:
    counts = document_terms("src/pool.py", "Pool.close", "self.lock.release()")
    assert counts[term_id("pool")] == 2
    assert counts[term_id("releas")] == 1


def test_counts_equal_those_of_terms() -> None:
    text = "def close_pool(self): pool = self.pool; closePool(pool)"
    assert document_terms("", "", text) == {term_id(t): terms(text).count(t) for t in set(terms(text))}


def test_a_query_asks_for_each_of_its_terms_once() -> None:
    assert query_term_ids("close_pool close") == {term_id("closepool"), term_id("clos"), term_id("pool")}


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
