"""Documentation asks, its function answers, and it is taken out of what is searched."""

import pytest

from search_eval.doc_comments import documented, questions, without
from search_eval.golden import Gold

PYTHON = '''"""Of the module."""


class Pool:
    """Of the class."""

    def close(self, now):
        """Give back every connection that close() was told of,
        and wait for those in use.

        now: at once.
        """
        return now


def bare():
    return 1


def only_doc():
    """Say nothing at all about anything here."""
'''

GO = """package pool

// Close gives back every connection
// and waits for those in use.
//
// More of it.
func (p *Pool) Close(now bool) error {
\treturn nil
}

// Too short.
func Open() {
}

func Plain() {
}
"""

JAVA = """class Pool {
    /**
     * Gives back every connection and waits for those in use.
     * @param now at once
     */
    public static int close(boolean now) {
        return 1;
    }
    // Calls what gives back every connection again and again.
    int a = close(true);
}
"""

RUST = """/// Gives back every connection and waits for those in use.
pub(crate) async fn close(now: bool) -> u8 {
    1
}
"""

JS = """// Gives back every connection and waits for those in use.
export async function close(now) {
  return 1
}
"""


@pytest.mark.parametrize(
    ("path", "text", "line", "doc"),
    [
        ("pool.py", PYTHON, 7, (8, 12)),
        ("pool.go", GO, 7, (3, 6)),
        ("Pool.java", JAVA, 6, (2, 5)),
        ("pool.rs", RUST, 2, (1, 1)),
        ("pool.js", JS, 2, (1, 1)),
    ],
)
def test_the_first_paragraph_asks_without_the_functions_name_and_the_function_answers(
    path: str, text: str, line: int, doc: tuple[int, int]
) -> None:
    [question] = questions({path: text})
    assert question.gold == (Gold(path, line, line),)
    assert "every connection" in question.query
    assert "those in use" in question.query
    assert "lose" not in question.query
    assert "now" not in question.query
    assert question.category == "doc comment, taken out of what is searched"
    [function] = [one for one in documented(path, text) if one.line == line]
    assert (function.first, function.last) == doc


@pytest.mark.parametrize(("path", "text"), [("pool.py", PYTHON), ("pool.go", GO), ("Pool.java", JAVA)])
def test_what_is_searched_lacks_the_documentation_and_keeps_its_lines(path: str, text: str) -> None:
    bare = without(text, documented(path, text)).split("\n")
    [question] = questions({path: text})
    assert len(bare) == len(text.split("\n"))
    assert not any("every connection\n" in line or "those in use" in line for line in bare)
    assert "lose" in bare[question.gold[0].start_line - 1]


def test_documentation_that_asks_for_nothing_or_reads_like_a_filter_is_no_other_question() -> None:
    def asked(doc: str) -> list[str]:
        return [one.query for one in questions({"pool.go": f"package pool\n\n// {doc}\nfunc Close() {{\n}}\n"})]

    assert asked("Gives back what lang:go and path:src filter in a query.") == [
        "Gives back what lang: go and path: src filter in a query"
    ]
    assert asked("Copyright of those who wrote all of this at once.") == []
    assert asked("TODO give back every connection of the pool at once.") == []


def test_a_function_that_is_but_its_documentation_keeps_it() -> None:
    assert "Say nothing at all" in without(PYTHON, documented("pool.py", PYTHON))


def test_what_a_preprocessor_is_told_is_no_documentation() -> None:
    text = "#if defined(ONE) && defined(TWO) && defined(THREE) && defined(FOUR)\nint f(int a) {\n  return a;\n}\n"
    assert documented("a.c", f"#include <stdio.h>\n{text}#endif\nint g(int a) {{\n  return a;\n}}\n") == []
    [ruby] = documented("a.rb", "# if it is open, it gives back every connection\ndef close(now)\nend\n")
    assert ruby.first == 1


def test_a_file_that_does_not_parse_asks_nothing() -> None:
    assert questions({"pool.py": "def broken(:\n    '''Give back every connection of the pool.'''\n"}) == []


def test_tests_ask_nothing_and_a_limit_takes_the_same_ones_each_time() -> None:
    assert questions({"tests/test_pool.py": PYTHON}) == []
    files = {f"src/pool{number}.py": PYTHON for number in range(9)}
    some = questions(files, 4)
    assert len(some) == 4
    assert some == questions(dict(reversed(files.items())), 4)
