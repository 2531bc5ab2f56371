"""Tuned ripgrep: what a skilled person, or a program that greps, makes of a query. Tuned on the development half only.

The query's words and the parts of its identifiers become patterns, without stop words and endings. ripgrep finds the
lines; files are ranked by the weights of the words that stand close together, rare words weighing more. What helped on
the development half is in: words of the path, phrases, lines that look like a definition, less for tests and docs.
"""

import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter

from evals.core.ranking import Ranking
from evals.core.stack import cache_folder
from evals.core.task import Batch
from search_eval.golden import Question
from search_eval.metrics import Found

ADVICE = "the baseline needs ripgrep: install one (Debian: `apt-get install ripgrep`; Mac: `brew install ripgrep`)"

# Lines within which words count as standing together; about a function.
WINDOW = 30

# Of a word's weight: its stand in the path; a part of an identifier where the whole one is asked; two words in a row.
PATH, PART, PHRASE = 0.6, 0.4, 0.5

# Times a word's weight, where a line seems to define what has just this name.
DEFINITION = 2.0

# Of the score of the rest of a file, beside its best window's.
ELSEWHERE = 0.2

# Tests, examples and docs repeat the words of what they are about.
ASIDE = 0.5
_ASIDE = re.compile(
    r"(^|/)(tests?|testing|__tests__|spec|examples?|docs?|bench\w*)(/|$)|(^|[/_.-])(test|spec)[_.]|\.md$|\.rst$", re.I
)
_ASKS_ASIDE = re.compile(r"\b(tests?|specs?|examples?|docs?|documentation|readme|changelog)\b", re.I)

_DEFINES = re.compile(
    r"\b(class|def|func|function|fn|fun|interface|struct|trait|enum|type|module|protocol|impl|object|const|let|var|"
    r"public|private|protected|static|void|extension|namespace|typedef|#define)\b"
)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\d+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_STOP = """
a about all an and any are as at be been but by can could do does for from get gets give given has have how i
if in into is it its like make me my no not of on one only or our out over should so some such than that the
their them then there these they this to up use used uses using was we what when where which while who whose
why will with would you your python code file files function functions method line
"""
STOP = frozenset(_STOP.split())


@dataclass(frozen=True, slots=True)
class Term:
    """What is looked for, lower-case. weight: before rareness. is_word: with word boundaries, since it is short."""

    text: str
    weight: float = 1.0
    is_word: bool = False

    @property
    def pattern(self) -> str:
        """As ripgrep takes it."""
        return rf"\b{re.escape(self.text)}\b" if self.is_word else re.escape(self.text)

    def is_in(self, low: str) -> bool:
        """Whether a lower-case text has it."""
        return bool(re.search(self.pattern, low)) if self.is_word else self.text in low


def terms(query: str) -> list[Term]:
    """The patterns of a query, each once, the whole identifiers before their parts."""
    found: dict[str, Term] = {}
    for word in _WORD.findall(query):
        parts = _PARTS.findall(word)
        is_identifier = len(parts) > 1
        for text, weight in [(word, 1.0), *((part, PART) for part in parts if is_identifier)]:
            low = text.lower()
            if low in STOP or (len(low) < 2 and not low.isdigit()):
                continue
            stem = low if is_identifier and text == word else stemmed(low)
            found.setdefault(stem, Term(stem, weight, is_word=len(stem) <= 3))
    return list(found.values())


def stemmed(word: str) -> str:
    """A word without its ending, where enough of it is left: "retries", "retried" and "retrying" become "retr"."""
    for ending in ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "ed", "es", "er", "s", "y", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def phrases(query: str) -> list[str]:
    """Two words in a row, lower-case, as they would stand in a message."""
    words = re.findall(r"\S+", query.lower())
    return [f"{a} {b}" for a, b in pairwise(words) if not (a in STOP and b in STOP)]


@dataclass
class Ripgrep:
    """Ranks files by ripgrep's lines; a hit is a file's best window."""

    program: str
    name: str = "ripgrep"
    version: str = "4"
    _root: Path = Path()
    _files: list[str] = field(default_factory=list)

    def prepare(self, batch: Batch, repository: str) -> None:
        """Lists the files once; as many as ripgrep would search."""
        self._root = batch.root
        self._files = self._run(["--files"]).splitlines()

    def rank(self, question: Question) -> Ranking:
        """One run of ripgrep, and the sums over its lines."""
        began = perf_counter()
        wanted = terms(question.query)
        lines = self._lines(wanted)
        weights = {
            term: term.weight * _rareness(len(self._files), holders) for term, holders in self._holders(wanted, lines)
        }
        pairs = phrases(question.query)
        is_aside_asked = bool(_ASKS_ASIDE.search(question.query))
        scored = []
        for path in {*lines, *(p for p in self._files if any(t.is_in(p.lower()) for t in wanted))}:
            score, at = _score(lines.get(path, []), weights, pairs)
            score += PATH * sum(weight for term, weight in weights.items() if term.is_in(path.lower()))
            if not is_aside_asked and _ASIDE.search(path):
                score *= ASIDE
            scored.append((-score, path, at))
        found = tuple(Found(path, at, at + WINDOW - 1, self._chars(path, at)) for _, path, at in sorted(scored)[:50])
        return Ranking(found, perf_counter() - began)

    def _lines(self, wanted: Sequence[Term]) -> dict[str, list[tuple[int, str]]]:
        if not wanted:
            return {}
        patterns = [word for term in wanted for word in ("-e", term.pattern)]
        out = self._run(["-i", "-n", "--null", "--no-heading", "-M", "2000", *patterns, "."])
        found: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for line in out.splitlines():
            path, _, rest = line.partition("\0")
            number, _, text = rest.partition(":")
            if number.isdigit():
                found[path.removeprefix("./")].append((int(number), text))
        return found

    def _holders(self, wanted: Iterable[Term], lines: dict[str, list[tuple[int, str]]]) -> Iterable[tuple[Term, int]]:
        whole = {path: "\n".join(text for _, text in of).lower() for path, of in lines.items()}
        return [(term, sum(term.is_in(text) for text in whole.values())) for term in wanted]

    def _chars(self, path: str, at: int) -> int:
        text = (self._root / path).read_text("utf-8", errors="replace").splitlines()
        return sum(len(line) + 1 for line in text[at - 1 : at - 1 + WINDOW])

    def _run(self, words: list[str]) -> str:
        # 1: nothing found. 2: some file could not be read, which is told on standard error.
        done = subprocess.run(
            [self.program, "--no-config", "--color", "never", *words], cwd=self._root, capture_output=True, check=False
        )
        return done.stdout.decode("utf-8", errors="replace")


def _rareness(files: int, holders: int) -> float:
    return math.log(1 + files / holders) if holders else 0.0


def _score(lines: Sequence[tuple[int, str]], weights: dict[Term, float], pairs: Sequence[str]) -> tuple[float, int]:
    """The best window's weight with a part of the whole file's, and the window's first line."""
    worth: list[tuple[int, set[Term], float]] = []
    everywhere: set[Term] = set()
    for number, text in lines:
        low = text.lower()
        here = {term for term in weights if term.is_in(low)}
        more = PHRASE * sum(sum(weights[t] for t in here if t.is_in(pair)) for pair in pairs if pair in low)
        if _DEFINES.search(text):
            more += DEFINITION * max((weights[t] for t in here if _is_name(t.text, low)), default=0.0)
        worth.append((number, here, more))
        everywhere |= here
    best, at = 0.0, 1
    for first, (number, _, _) in enumerate(worth):
        together: set[Term] = set()
        most = 0.0
        for other, here, more in worth[first:]:
            if other >= number + WINDOW:
                break
            together |= here
            most = max(most, more)
        score = sum(weights[t] for t in together) + most
        if score > best:
            best, at = score, number
    return best + ELSEWHERE * sum(weights[t] for t in everywhere), at


def _is_name(name: str, low: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", low) is not None


def find() -> str:
    """RIPGREP_PROGRAM, the one on PATH, or Debian's, unpacked below the cache. Fails with FileNotFoundError."""
    own = cache_folder() / "ripgrep"
    unpacked = own / "usr" / "bin" / "rg"
    for place in (os.environ.get("RIPGREP_PROGRAM"), shutil.which("rg"), str(unpacked)):
        if place and Path(place).is_file():
            return place
    if shutil.which("apt-get"):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "download", "-q", "ripgrep"], cwd=folder, capture_output=True, check=False)
            for package in Path(folder).glob("*.deb"):
                own.mkdir(parents=True, exist_ok=True)
                subprocess.run(["dpkg-deb", "-x", str(package), str(own)], check=False)
    if not unpacked.is_file():
        raise FileNotFoundError(ADVICE)
    return str(unpacked)


if __name__ == "__main__":
    try:
        find()
    except FileNotFoundError as missing:
        sys.exit(str(missing))
