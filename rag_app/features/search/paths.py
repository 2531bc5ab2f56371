"""What kind of file a path is, and how much that weighs: tests, examples and docs stand back unless asked for."""

import re
from functools import lru_cache

from rag_app.core.tokens import terms
from rag_app.features.search.weights import Weights

_CLASSES: dict[str, re.Pattern[str]] = {
    "test": re.compile(
        r"(^|/)(tests?|testing|__tests__|specs?|testdata|fixtures)/"
        r"|(^|/)(test_[^/]*|conftest)\.\w+$|[^/]*([._-]test|[._-]spec|Tests?)\.\w+$"
    ),
    "example": re.compile(r"(^|/)(examples?|samples?|demos?|tutorials?|benchmarks?|bench)/"),
    "docs": re.compile(
        r"(^|/)(docs?|documentation|changelogs?)/|\.(md|rst|txt|adoc)$|(^|/)(README|CHANGES|LICENSE)", re.I
    ),
}

# Words with which a query asks for a class.
_ASKED: dict[str, str] = {
    "test": "test tests testing tested spec specs fixture fixtures conftest unittest pytest mock",
    "example": "example examples sample samples demo tutorial benchmark benchmarks usage",
    "docs": "doc docs documentation documented readme changelog guide tutorial license install",
}


# 200 candidates a search, of the same files again and again: 3 us of regular expressions each.
@lru_cache(maxsize=1 << 16)
def path_class(path: str) -> str:
    """ "test", "example", "docs" or "code"."""
    return next((name for name, pattern in _CLASSES.items() if pattern.search(path)), "code")


def classes_asked(text: str) -> frozenset[str]:
    """The classes that a query names."""
    words = set(terms(text))
    return frozenset(name for name, asked in _ASKED.items() if words & set(terms(asked)))


def path_weight(path: str, asked: frozenset[str], weights: Weights) -> float:
    """1 for code and for what was asked for, the weight of its class for the rest."""
    kind = path_class(path)
    return 1.0 if kind in asked else weights.of_class(kind)
