"""Questions that people ask of code, made of the code: the same ones every time, and no two alike.

No two differ in case, blanks or final marks only either: the embedding model sees no case, and its service keeps the
vectors of texts that it has seen, so that a question asked twice would cost nothing.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.load.facts import Fact, Kind, facts

# Of a hundred questions: names looked up, what code does, messages pasted, files asked for, and words as they come.
SHARES = {"symbol": 25, "how": 25, "message": 10, "path": 10, "phrase": 30}

_SOURCE: dict[str, Kind] = {
    "symbol": "name", "how": "sentence", "message": "message", "path": "file", "phrase": "sentence",
}  # fmt: skip

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "symbol": (
        "{symbol}", "where is {symbol} defined?", "who calls {symbol}", "usage of {symbol}", "{symbol} in {file}",
        "what does {symbol} return?", "tests for {symbol}", "which arguments does {symbol} take?",
    ),
    "how": (
        "how does {symbol} work: {sentence}", "how does {folder} {sentence}", "why does {symbol} say: {sentence}?",
        "which code does this: {sentence}",
    ),
    "message": (
        "{text}", "what raises '{text}'?", "RuntimeError: {text}", "{text}, seen in {folder}", "how do I avoid: {text}",
        "{symbol} fails with {text}",
    ),
    "path": (
        "what is in {path}?", "{path}", "what is {file} in {folder} for", "which functions are in {path}?",
        "classes of {path}", "who imports {path}", "explain {path}", "entry point of {path}",
    ),
    "phrase": ("{sentence}", "{half}", "{folder} {half}", "{tail} in {folder}", "code for: {tail}"),
}  # fmt: skip


def corpus_facts(roots: Sequence[Path]) -> list[Fact]:
    """Facts of every file under the roots, in the order of their paths."""
    found: list[Fact] = []
    for root in roots:
        for path in sorted(file for file in root.rglob("*") if file.is_file()):
            found += facts(path.relative_to(root).as_posix(), path.read_text("utf-8", errors="replace"))
    return found


def questions(known: Sequence[Fact], count: int, seed: int = 5) -> list[str]:
    """`count` distinct questions, mixed, by SHARES as far as the facts reach (phrases make up for the rest).

    Fails with ValueError where the facts do not give as many.
    """
    chance = random.Random(seed)
    shuffled = sorted(known, key=lambda fact: (fact.kind, fact.path, fact.symbol, fact.text))
    chance.shuffle(shuffled)
    seen: set[str] = set()
    made: list[str] = []
    streams = {name: _distinct(name, shuffled, seen) for name in SHARES}
    for name, share in SHARES.items():
        made += _first(streams[name], count * share // 100)
    for name in ("phrase", "symbol", "how"):
        made += _first(streams[name], count - len(made))
    if len(made) < count:
        raise ValueError(f"the corpus gives {len(made)} distinct questions, {count} are wanted")
    chance.shuffle(made)
    return made


def canonical(text: str) -> str:
    """What an uncased model sees of a question, about: equal for two that differ in case, blanks or final marks."""
    return " ".join(text.lower().split()).rstrip(" .?!:,;")


def _distinct(name: str, known: Sequence[Fact], seen: set[str]) -> Iterator[str]:
    """Each fact once with its own template, then again with the next one, and so on."""
    mine = [fact for fact in known if fact.kind == _SOURCE[name]]
    templates = _TEMPLATES[name]
    for turn in range(len(templates)):
        for number, fact in enumerate(mine):
            text = templates[(turn + number) % len(templates)].format(**_fields(fact))
            key = canonical(text)
            if len(key) >= 4 and key not in seen:
                seen.add(key)
                yield text


def _fields(fact: Fact) -> dict[str, str]:
    folder, _, file = fact.path.rpartition("/")
    words = fact.text.rstrip(".:").split()
    middle = max(len(words) // 2, min(len(words), 4))
    sentence = " ".join(words)
    return {
        "path": fact.path,
        "file": file,
        "folder": folder.rpartition("/")[2] or file,
        "symbol": fact.symbol or file,
        "text": fact.text,
        "sentence": sentence[:1].lower() + sentence[1:],
        "half": " ".join(words[:middle]).lower(),
        "tail": " ".join(words[-middle:]).lower(),
    }


def _first(stream: Iterable[str], count: int) -> list[str]:
    return [text for _, text in zip(range(count), stream, strict=False)]
