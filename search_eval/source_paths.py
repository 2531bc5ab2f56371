"""Which paths are a program's source, and which are its tests, docs, locks and data. By path alone."""

import re

# Files in which behaviour is written, by extension: those languages that a commit's fix lies in.
_CODE = re.compile(
    r"\.(py[ix]?|[cm]?[jt]sx?|vue|svelte|go|rs|java|kts?|scala|groovy|[ch]|cc|[ch]pp|[ch]xx|hh|ipp|cs|fs|vb|rb|php|swift|"
    r"mm?|lua|p[lm]|r|jl|exs?|erl|hrl|clj[sc]?|hs|mli?|dart|zig|nim|sh|bash|sql|proto)$",
    re.I,
)
_ASIDE = re.compile(
    r"(^|/)(tests?|testing|__tests__|specs?|testdata|fixtures|e2e|docs?|documentation|examples?|samples?|demos?|"
    r"tutorials?|benchmarks?|bench|vendor|node_modules|third_party|dist|\.github|\.ci)/"
    r"|(^|/)(test_[^/]*|conftest)\.\w+$|[._-](test|spec)s?\.\w+$"
    r"|\.min\.js$|(_pb2|\.pb|_generated|\.gen)\.\w+$|(^|/)(setup|version|__version__|_version)\.\w+$",
    re.I,
)
_TEST_CLASS = re.compile(r"[a-z0-9]Tests?\.\w+$")
_HISTORY = re.compile(
    r"(^|/)(changelogs?|changes|history|news|releases?|release[-_]?notes|whats[-_]?new)([./_-]|$)", re.I
)


def tells_history(path: str) -> bool:
    """Whether a file tells what was changed: today's quotes the messages of the commits that questions are made of."""
    return bool(_HISTORY.search(path)) and not _CODE.search(path)


def is_source(path: str) -> bool:
    """Whether a path holds the program itself: code, and no test, doc, example, vendored or generated file.

    setup.py and files that hold but a version are none: what changes them is a release.
    """
    return bool(_CODE.search(path)) and not _ASIDE.search(path) and not _TEST_CLASS.search(path)
