"""What a commit's message asks for, once everything that names the answer, or no question, is taken out. Pure."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

# A model with a window of 256 tokens reads no more than about this of a text; the rest of a message is its history.
MAX_CHARS = 1_000

# Nor is more of a message cleaned: some hold a whole log.
_MAX_CLEANED = 8 * MAX_CHARS

# A message with fewer words left ("Fix typo") says nothing that could be looked for.
FEWEST_WORDS = 3

_MERGE = re.compile(r"^Merge (pull request|branch|branches|remote|tag|commit|[0-9a-f]{7,40}\b).*$", re.M)
_REVERT = re.compile(r"^(revert\b|reapply\b|back out\b|rollback\b)|^This reverts commit", re.I | re.M)
_TRAILER = re.compile(
    r"^\s*((\w+-)+(by|id|on|url|to|also):|(cc|closes|refs?|bug|issue|link|relates|change-type|git-svn-id):\s"
    r"|(fixes|resolves):\s+\S*\d+\s*$|\(cherry picked from)[^\n]*$",
    re.M | re.I,
)
_CLOSES = re.compile(
    r"(\b(fix(es|ed)?|clos(e|es|ed)|resolv(e|es|ed)|refs?|see|related to|part of|issues?|pr|pull request|bug)\s*+:?+"
    r"\s*+)?\(?+\s*+(([\w.-]+/[\w.-]+)?#\d+|\bgh-\d+|\bpr ?\d{2,}|\bissue \d+)\s*\)?",
    re.I,
)
_TICKET = re.compile(r"\[?\b[A-Z][A-Z0-9]{1,9}-\d+\b\]?")
_URL = re.compile(r"\b(https?|ssh|git)://\S+|\bwww\.\S+")
_HASH = re.compile(r"\b(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,40}\b")
_KIND = re.compile(
    r"^\s*(feat|feature|fix|bugfix|hotfix|chore|docs?|style|refactor|perf|tests?|build|ci|revert|deps)"
    r"(\([^)]*\))?!?:\s*",
    re.I,
)
_MARK = re.compile(r":[a-z0-9_+-]{3,}:")
# A run of what paths and dotted names are written with.
_TOKEN = re.compile(r"[\w@.+~-]*(?:[/\\][\w@.+~*-]+)+/?|[\w@+~-]+(?:\.[\w@+~-]+)+|[\w-]+")
_AREA = re.compile(r"^\s*([\w./, -]{1,60}?):\s+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_FILTER = re.compile(r"(?<!\S)(lang|language|path|file|repo|symbol):(?=\S)")


@dataclass(frozen=True, slots=True)
class PathNames:
    """What names a file of a tree, in lower case.

    paths: ends that hold a "/" of the paths of files, with their extension and without, and of folders.
    names: of files, with their extension; plain: names without one, as they are written; dotted: ends of paths without
    extension, as modules are named; endings: extensions; areas: folders and stems, as they stand before a colon.
    """

    paths: frozenset[str]
    names: frozenset[str]
    plain: frozenset[str]
    dotted: frozenset[str]
    endings: frozenset[str]
    areas: frozenset[str]

    @classmethod
    def of(cls, tree: Iterable[str]) -> "PathNames":
        """Of the paths of a tree, with "/"."""
        paths: set[str] = set()
        names: set[str] = set()
        plain: set[str] = set()
        dotted: set[str] = set()
        endings: set[str] = set()
        areas: set[str] = set()
        folders: set[str] = set()
        for text in tree:
            path = PurePosixPath(text)
            (names if path.suffix else plain).add(path.name.lower() if path.suffix else path.name)
            endings.add(path.suffix.lower())
            areas.update((path.stem.lower(), *(part.lower() for part in path.parts[:-1])))
            folders.update("/".join(path.parts[:end]).lower() for end in range(1, len(path.parts)))
            parts = [*(part.lower() for part in path.parts[:-1]), path.stem.lower()]
            for begin in range(len(parts) - 1):
                dotted.add(".".join(parts[begin:]))
                paths.add("/".join(parts[begin:]))
                paths.add("/".join([*parts[begin:-1], path.name.lower()]))
        for folder in folders:
            parts = folder.split("/")
            paths.add(f"{parts[-1]}/")
            paths.update("/".join(parts[begin:]) for begin in range(len(parts) - 1))
        return cls(
            frozenset(paths),
            frozenset(names),
            frozenset(plain),
            frozenset(dotted),
            frozenset(endings - {""}),
            frozenset(areas),
        )

    def has(self, token: str) -> bool:
        """Whether a word of a message is the name of a file, a path or the end of one, or a module by its whole name.

        A bare stem ("sessions" of sessions.py) is a word and stays; so does a lower-case name without extension
        ("run" of bin/run).
        """
        word = token.replace("\\", "/").rstrip(".").removeprefix("./").lower()
        if "/" in word:
            return word in self.paths or word.rstrip("/") in self.paths
        if word in self.names or word in self.dotted:
            return True
        if token in self.plain and not token.islower():
            return True
        return PurePosixPath(word).suffix in self.endings and not word.startswith(".")


def cleaned(message: str, names: PathNames) -> str:
    """The question in a message: subject and body without what names the answer or belongs to the forge.

    Out go merge lines, trailers and co-authors, issue numbers and tickets, addresses, commit hashes, the kind and area
    before a subject's colon ("fix(render): "), and names and paths of the files in `names`. At most MAX_CHARS.
    """
    text = _MERGE.sub("", message[:_MAX_CLEANED].replace("\r\n", "\n"))
    text = _TRAILER.sub("", text)
    text = _URL.sub("", text)
    text = _CLOSES.sub(" ", text)
    text = _HASH.sub("", _TICKET.sub("", text))
    text = _MARK.sub("", _KIND.sub("", text.strip()))
    area = _AREA.match(text)
    if area and all(part.strip().lower() in names.areas for part in re.split(r"[/,]", area[1])):
        text = text[area.end() :]
    text = _TOKEN.sub(lambda found: "" if names.has(found[0]) else found[0], text)
    return unfiltered(_tidy(text)[:MAX_CHARS].strip())


def unfiltered(text: str) -> str:
    """A text in which a search sees words only: `lang:`, `path:`, `repo:` and `symbol:` filter before a word."""
    return _FILTER.sub(r"\1: ", text)


def _tidy(text: str) -> str:
    """Without the brackets, quotes and blanks that what was taken out leaves behind."""
    text = re.sub(r"(?<!\w)\([ \t,;:]*\)|\[[ \t]*\]|(?<!`)`[ \t]*`(?!`)|\"[ \t]*\"|''", "", text)
    text = re.sub(r"[ \t]+[.,;:]+(?=\s|$)", "", text)
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")]
    return "\n".join(line for line in lines if _WORD.search(line)).strip(" \n:;,-")


def words(text: str) -> int:
    """How many words of two letters and more a text has."""
    return len(_WORD.findall(text))


def is_merge(message: str) -> bool:
    """Whether a message is a forge's or git's own for a merge, which a squash may have left on an ordinary commit."""
    return bool(_MERGE.match(message))


def is_revert(message: str) -> bool:
    """Whether a commit takes another back, or puts it in again: its words describe the other one."""
    return bool(_REVERT.search(message))


_BUMP = re.compile(
    r"^\s*(\w+(\([^)]*\))?!?:\s*)?("
    r"(bump|upgrade|update|pin)\b.*\b(to|from)\b.*\d|(bump|release|prepare|preparing|cut|tag|set)\b.*\b(version|release|v?\d+\.\d+)"
    r"|(release|version|bump)\b\s*:?\s*v?\d|v?\d+\.\d+(\.\d+)*\S*\s*$|back to dev|post[- ]release|start (of )?next)",
    re.I,
)
_BOT = re.compile(
    r"\[bot\]|\b(dependabot|renovate|greenkeeper|pre-commit-ci|github-actions|snyk-bot|pyup-bot|mergify|allcontributors|"
    r"weblate|transifex|crowdin|semantic-release|release-please|bors)\b|\bbot@",
    re.I,
)

_COSMETIC = re.compile(
    r"\b(typos?|misspell\w*|spelling|grammar|lint\w*|white ?space|cosmetic|pep ?8|flake8|isort|black|gofmt|ruff|"
    r"prettier|reformat\w*|formatting|unused imports?|doc ?strings?|copyright|licen[cs]e)\b",
    re.I,
)


def is_cosmetic(message: str) -> bool:
    """Whether a subject speaks of how code is written, which is the same everywhere: it asks for no place."""
    return bool(_COSMETIC.search(message.strip().split("\n", 1)[0]))


def is_version_bump(message: str) -> bool:
    """Whether a subject speaks of a release, or of a dependency's new version, and of no behaviour."""
    return bool(_BUMP.match(message.strip().split("\n", 1)[0]))


def is_bot(author: str) -> bool:
    """author: name and address. Whether a program wrote the commit."""
    return bool(_BOT.search(author))


def names_stem(text: str, paths: Collection[str]) -> bool:
    """Whether a text says the stem of one of the paths as a word: an easier question, told apart in reports."""
    said = set(re.findall(r"[a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text).lower().replace("_", " ")))
    whole = set(re.findall(r"\w+", text.lower()))
    for path in paths:
        stem = PurePosixPath(path).stem.lower()
        parts = [part for part in re.split(r"[^a-z0-9]+", stem) if part]
        if stem in whole or (parts and all(part in said for part in parts)):
            return True
    return False
