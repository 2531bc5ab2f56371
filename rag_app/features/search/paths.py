"""What kind of file a path is: tests, documentation, examples and the like stand back unless they are asked for."""

import re
from functools import lru_cache

_CODE = r"py|pyi|js|mjs|cjs|jsx|ts|tsx|go|rs|java|kt|swift|rb|php|c|h|cc|hh|cpp|hpp|cs|m|mm|scala|lua|ex|exs|sh|sql"

# In this order: a vendored library's tests are vendored.
_CLASSES: dict[str, re.Pattern[str]] = {
    "vendored": re.compile(r"(^|/)(vendor(ed)?|_vendor|third[_-]?party|3rd[_-]?party|extern(al)?|deps)/"),
    # A bundle says everything that its sources say, in one file.
    "generated": re.compile(
        r"(^|/)(dist|bundles?|out|build|single_include|amalgamat\w*|(__)?generated(__)?)/"
        r"|\.(bundle|generated|gen)\.\w+$|(^|/)[^/]*amalgamat[^/]*$"
    ),
    "test": re.compile(
        r"(^|/)(tests?|testing|__tests__|specs?|testdata|fixtures)/"
        r"|(^|/)(test_[^/]*|conftest)\.\w+$|([._-]test|[._-]spec|Tests?)\.\w+$"
    ),
    "example": re.compile(
        r"(^|/)(examples?|samples?|demos?|tutorials?|benchmarks?|bench|docs_src)/"
        rf"|(^|/)(docs|documentation)/.*\.({_CODE})$"
    ),
    # doc/ may be a package that writes some.
    "docs": re.compile(
        rf"(^|/)(docs?|documentation|changelogs?)/(?!.*\.({_CODE})$)|\.(md|rst|txt|adoc)$"
        rf"|(^|/)(README|CHANGES|LICENSE)(?![^/]*\.({_CODE})$)",
        re.I,
    ),
    "deprecated": re.compile(
        r"(^|/)(deprecated|legacy|obsolete|_?compat(ibility)?)(/|\.\w+$)|[_-](compat|legacy|deprecated)\.\w+$"
    ),
    "config": re.compile(
        r"(^|/)\.[^/]+(/|$)|\.(json|ya?ml|toml|ini|cfg|lock|xml|gradle|properties|bazel|cmake|nix|config\.[cm]?[jt]s)$"
        r"|(^|/)(Makefile|Dockerfile|BUILD|WORKSPACE|meson\.build)$"
    ),
}

# src/v3/, beside which there may be a src/v4/.
_VERSION_FOLDER = re.compile(r"(?:^|/)v(\d{1,4})/")

# What is around a test's name: test_pool.py, pool_test.go, pool.spec.ts, PoolTest.java are all of pool.
_OF_TESTS = re.compile(
    r"^tests?[_-]|[_-](tests?|unittests?|spec)$|\.(spec|tests?|unit|e2e)$|(?<=[a-z0-9])Tests?$|^Test(?=[A-Z])|^unit[_-]",
)


# 400 candidates a search, of the same files again and again: 3 us of regular expressions each.
@lru_cache(maxsize=1 << 16)
def path_class(path: str) -> str:
    """ "vendored", "generated", "test", "example", "docs", "deprecated", "config" or "code"."""
    return next((name for name, pattern in _CLASSES.items() if pattern.search(path)), "code")


@lru_cache(maxsize=1 << 16)
def version_folder(path: str) -> tuple[str, int] | None:
    """What comes before the first folder called v1, v2 and so on, and the number; None where there is none."""
    found = _VERSION_FOLDER.search(path)
    return (path[: found.start()], int(found[1])) if found else None


@lru_cache(maxsize=1 << 16)
def subject(path: str) -> str:
    """What a file is about by its name, the same for a module and its tests: "pool" for all of pool's."""
    name = path.rpartition("/")[2]
    stem = (name.rpartition(".")[0] or name).removesuffix(".d")
    while (shorter := _OF_TESTS.sub("", stem)) != stem and shorter:
        stem = shorter
    return re.sub(r"[\W_]", "", stem).lower()
