"""What becomes of the [n] of an answer, whole or torn over pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_app.features.generation.citation_filter import CitationFilter


def shown(text: str, indexes: tuple[int, ...] = (1, 2, 3)) -> tuple[str, tuple[int, ...], int]:
    """(what a reader sees, passages cited, markers removed)."""
    passing = CitationFilter(indexes)
    seen = passing.feed(text) + passing.close()
    return seen, passing.used, passing.removed


@pytest.mark.parametrize(
    ("said", "seen", "used", "removed"),
    [
        ("The lock is taken in close [1].", "The lock is taken in close [1].", (1,), 0),
        ("See [1] and [9].", "See [1] and.", (1,), 1),
        ("Only [7].", "Only.", (), 1),
        ("[4] begins and [2] ends", " begins and [2] ends", (2,), 1),
        ("Both [1, 3].", "Both [1][3].", (1, 3), 0),
        ("Both [1,9; 2].", "Both [1][2].", (1, 2), 1),
        ("All [1-3].", "All [1][2][3].", (1, 2, 3), 0),
        ("All [3–1].", "All [1][2][3].", (1, 2, 3), 0),
        ("More [2-5].", "More [2][3].", (2, 3), 2),
        ("Twice [2][2].", "Twice [2][2].", (2,), 0),
        ("Once [2, 2].", "Once [2].", (2,), 0),
        ("Order [3] then [1].", "Order [3] then [1].", (3, 1), 0),
        ("Footnote [^2].", "Footnote [2].", (2,), 0),
        ("Spaces [ 1 ].", "Spaces [1].", (1,), 0),
        ("word[1] sticks", "word[1] sticks", (1,), 0),
        ("Zero [0].", "Zero.", (), 1),
        ("Matrix m[1, 2].", "Matrix m [1][2].", (1, 2), 0),
        ("Words [9][1] apart.", "Words [1] apart.", (1,), 1),
        ("Huge [99999999999999999999].", "Huge.", (), 1),
        ("Wide [1-100000].", "Wide [1][2][3].", (1, 2, 3), 99_997),
        ("A [ ] box, a [link](x), an [x], a date [2024-01-15] [", None, (), 0),
        ("", "", (), 0),
    ],
)
def test_a_marker_stays_only_where_it_points_to_a_passage_of_the_prompt(
    said: str, seen: str | None, used: tuple[int, ...], removed: int
) -> None:
    assert shown(said) == (said if seen is None else seen, used, removed)


@pytest.mark.parametrize(
    "said",
    ["args[0] and argv[0][1]", "sys.argv[1]", "x[1]", "(m[2][9])", "self.items[9]", "this.stack.top[1]", "f(x)[0]"],
)
def test_an_index_outside_of_backticks_is_left_alone_and_cites_nothing(said: str) -> None:
    assert shown(said) == (said, (), 0)


@pytest.mark.parametrize(
    "said",
    ["text[1].", "the pool[1]", "by make_response[1],", "flask.Flask.run[1]", "app.py[1]", "e.g.[1]", "(see above)[1]",
     "`argv`[1]", "**args**[1]", "myargs[1]", "Python 3[1]", "himself.[1]", "args [1]", "done.[1]"],
)  # fmt: skip
def test_a_marker_that_sticks_to_a_word_cites(said: str) -> None:
    assert shown(said) == (said, (1,), 0)


@pytest.mark.parametrize(
    "code",
    [
        "`a[1]` and ``b[9] ` c[2]``",
        "```python\nargs[0] = a[9]  # [1]\n```",
        "~~~\na[9]\n```\nb[1]\n~~~",
        "````\n```\na[9]\n````",
        "  ```\n  a[9]\n  ```",
        "```\nnever closed a[9]",
        "```",
    ],
)
def test_code_passes_untouched_and_cites_nothing(code: str) -> None:
    assert shown(code) == (code, (), 0)


def test_a_marker_after_code_counts_again() -> None:
    said = "`a[9]` is set [1].\n```py\nx[9]\n```\nThen [2], [8].\n"
    assert shown(said) == ("`a[9]` is set [1].\n```py\nx[9]\n```\nThen [2],.\n", (1, 2), 1)


@pytest.mark.parametrize("said", ["a stray ` then [9]", "a stray ` then [9]\nnext ` line", "``` x ` [9]"])
def test_a_backtick_that_closes_nothing_hides_no_marker(said: str) -> None:
    seen, _, removed = shown(said)
    assert "[9]" not in seen
    assert removed == 1


def test_text_is_shown_as_soon_as_it_is_certain() -> None:
    passing = CitationFilter((1,))
    assert passing.feed("The lock is ") == "The lock is"
    assert passing.feed("here [") == " here"
    assert passing.feed("1") == ""
    assert passing.feed("].") == " [1]."
    assert passing.close() == ""


_PIECES = st.lists(
    st.sampled_from(
        [
            "[",
            "]",
            "1",
            "2",
            "9",
            "[1]",
            "[9]",
            "[1, 9]",
            "`",
            "``",
            "```",
            "~~~",
            "\n",
            " ",
            "  ",
            ",",
            "-",
            "a",
            "x y",
        ]
    ),
    max_size=25,
)


@given(_PIECES)
def test_torn_or_whole_an_answer_comes_out_the_same(pieces: list[str]) -> None:
    passing = CitationFilter((1, 2))
    seen = "".join(passing.feed(character) for character in "".join(pieces)) + passing.close()
    assert (seen, passing.used, passing.removed) == shown("".join(pieces), (1, 2))


@given(st.text(alphabet="[]0129,- ax\n", max_size=30))
def test_what_is_shown_holds_no_marker_that_points_nowhere(said: str) -> None:
    seen, used, _ = shown(said, (1, 2))
    assert shown(seen, (1, 2)) == (seen, used, 0)
