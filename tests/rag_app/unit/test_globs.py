"""The globs of a search's `paths`, and the care that keeps every pattern's cost linear."""

import fnmatch
import re
import time
import warnings

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from rag_app.core.globs import Glob, linear


@pytest.mark.parametrize(
    ("glob", "path", "taken"),
    [
        ("[[]x].py", "[x].py", True),
        ("[a-c].py", "b.py", True),
        ("[^ab].py", "c.py", True),
        ("[^ab].py", "a.py", False),
        ("[a-].py", "-.py", True),
        ("[&&~~||].py", "|.py", True),
        ("[].py", "[].py", True),
        ("[!].py", "!.py", True),
        ("a**b.py", "axxb.py", True),
        ("a**b.py", "ax/xb.py", False),  # as in git: only a part that is ** and nothing else crosses folders
        ("**", "a/b", True),
        ("**/", "a/b", True),
        ("src/**", "src", False),
        ("a/**/**/b", "a/b", True),
        ("**/a/b", "a/b/a/b", True),
        ("a\\*.py", "a\\x.py", True),
    ],
)
def test_what_a_glob_takes(glob: str, path: str, taken: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # re warns of what a later Python reads in another way
        assert Glob.of(glob).matches(path) is taken


@pytest.mark.parametrize("glob", ["[z-a]*", "[a--b]"])
def test_a_range_that_runs_backwards_is_no_glob(glob: str) -> None:
    with pytest.raises(ValueError, match="range"):
        Glob.of(glob)


_PART = st.lists(st.sampled_from(["*", "a", "b", "?", "[ab]", "[!a]"]), min_size=1, max_size=5).map("".join)
_GLOB = st.lists(st.one_of(st.just("**"), _PART), min_size=1, max_size=5).map(lambda parts: "/".join(("x", *parts)))
_PATH = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5).map(lambda names: ("x", *names))


def by_trying_everything(parts: list[str], names: tuple[str, ...]) -> bool:
    """What a glob means, told without care for time."""
    if not parts:
        return not names
    if parts[0] == "**" and parts[1:]:
        return any(by_trying_everything(parts[1:], names[at:]) for at in range(len(names) + 1))
    if parts == ["**"]:
        return bool(names)
    return bool(names) and fnmatch.fnmatchcase(names[0], parts[0]) and by_trying_everything(parts[1:], names[1:])


@settings(max_examples=300, deadline=None)
@given(glob=_GLOB, names=_PATH)
def test_a_glob_matches_what_trying_every_way_matches(glob: str, names: tuple[str, ...]) -> None:
    parts = [part if part == "**" else re.sub(r"\*+", "*", part) for part in glob.split("/")]
    assert Glob.of(glob).matches("/".join(names)) is by_trying_everything(parts, names)


@pytest.mark.parametrize(
    "glob",
    ["*a" * 12 + "*b", "**/" * 15 + "b", "**/a/" * 15 + "b", "*[a(]" * 30 + "*b", "*?" * 30 + "b", "a**" * 40 + "b"],
)
def test_a_glob_that_means_harm_costs_no_time(glob: str) -> None:
    begun = time.process_time()
    harmful = Glob.of(glob)
    for path in ("a" * 250, "(" * 250, "a/" * 200 + "c"):
        assert not harmful.matches(path)
    assert time.process_time() - begun < 2  # forever, without the care; 10 ms with it


def test_an_expression_made_linear_takes_the_same() -> None:
    for text in ("ab", "xaxbx", "ba", "aab", "abab"):
        plain = r"[^/]*a[^/]*b[^/]*"
        assert bool(re.fullmatch(linear(plain), text)) is bool(re.fullmatch(plain, text))
    assert linear(r"[^/]*a[^/]*b") != r"[^/]*a[^/]*b"
