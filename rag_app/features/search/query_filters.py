"""Filters that stand in a query: `lang:go path:src/**/*.go repo:flask symbol:Pool.close`. Pure."""

import re

from rag_app.core.models import Filters
from rag_app.features.search.languages import ALIASES
from rag_app.features.search.query_names import dotted
from rag_app.features.search.query_paths import cleaned, without_lines

# A filter, or a part in quotes, between blanks. Nothing gives way to another try, so that a text is read once.
_TOKEN = re.compile(
    r'(?<!\S)(?:(?P<key>lang|language|path|file|repo|symbol):(?P<value>"[^"]*+"|[^\s"]++)|"(?P<quoted>[^"]*+)")'
    r"(?!\S)[ \t]*+"
)

# How texts name the form of a place, "file:line" and "path:line:column": words, and no filter for a file called "line".
_PLACE = re.compile(r"lines?(?:[:_-]?(?:no|nr|numbers?|col|columns?|text))*")


def split_filters(text: str) -> tuple[str, Filters]:
    """What is to be searched for, and the filters that stood beside it.

    The keys are lang (language), path (file), repo and symbol, lower-case, with a value right behind the colon, in
    quotes where it holds blanks. In quotes altogether a filter is words, and the quotes fall away, as they do around
    a whole query. Lines behind a path are left out of it. Anything else is left as it is: http://x, std::x, foo:bar,
    file:line, "lang:" with nothing behind it.
    """
    found: dict[str, list[str]] = {"lang": [], "path": [], "repo": [], "symbol": []}

    def taken(match: re.Match[str]) -> str:
        if match["quoted"] is not None:
            return match[0].replace('"', "") if _TOKEN.search(match["quoted"]) else match[0]
        key = {"language": "lang", "file": "path"}.get(match["key"], match["key"])
        value = _value(key, match["value"])
        if not value:
            return match[0]
        found[key].append(value)
        return ""

    if ":" in text:
        text = _TOKEN.sub(taken, text)
    if text[:1] == text[-1:] == '"' and text.count('"') == 2 and text[1:-1].strip():
        text = text[1:-1]
    languages = (name for value in found["lang"] for name in ALIASES.get(value, (value,)))
    filters = Filters(
        tuple(dict.fromkeys(languages)),
        tuple(dict.fromkeys(found["path"])),
        tuple(dict.fromkeys(found["symbol"])),
        tuple(dict.fromkeys(found["repo"])),
    )
    return text.strip(), filters


def words_of(filters: Filters) -> str:
    """What to search for where a query is filters and nothing else: the names, else the files' stems, else the rest."""
    if filters.symbols:
        return " ".join(filters.symbols)
    if filters.paths:
        stems = (re.sub(r"\.\w*$", "", path.rstrip("/*").rpartition("/")[2]) for path in filters.paths)
        plain = (re.sub(r"[*?\[\]{}!]+", " ", stem).strip(" .") for stem in stems)
        return " ".join(word for word in plain if word) or " ".join(filters.paths)
    return " ".join([*filters.repositories, *filters.languages])


def _value(key: str, written: str) -> str:
    """The value of a filter as the index knows it; "" where it is none."""
    is_quoted = written.startswith('"')
    value = written.strip('"') if is_quoted else written.rstrip(",;:" if key == "path" else ",;.?!")
    value = value.strip()
    if key == "lang":
        return value.lower()
    if key == "symbol":
        return "" if value.startswith(":") else dotted(value)
    if key == "path":
        # file:///home/x is an address.
        is_none = value.startswith(("//", ":")) or (not is_quoted and _PLACE.fullmatch(value.rstrip(".?!")))
        return "" if is_none else cleaned(without_lines(value))
    return "" if value.startswith((":", "//")) else value
