"""A golden set out of a repository's own past: a commit's message asks, and the files that it changed answer.

The question is put to the tree before the commit. An index holds the newest commit, so that there are two forms: `head`
asks it for the files as they are named today (whole files: lines have moved since), `parent` asks an index of the
parent, with the lines that were changed. In the first the change itself is in the index, which makes it easier.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from search_eval.git_log import Commit, Git, commits, hunks, tree
from search_eval.golden import Gold, Question
from search_eval.messages import (
    FEWEST_WORDS,
    PathNames,
    cleaned,
    is_bot,
    is_cosmetic,
    is_merge,
    is_revert,
    is_version_bump,
    names_stem,
    words,
)
from search_eval.source_paths import is_source

# A commit over more source files than this is a sweep, of which no single file is the answer. Sets of fix commits that
# others made have at most three; a small repository needs what questions it has.
MOST_FILES = 5

# Of the questions by time: the older ones to tune on, the newer to judge by.
OLDER_SHARE = 0.7

Ranges = Mapping[str, Sequence[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with where it comes from. time: of the commit, Unix seconds."""

    question: Question
    commit: str
    parent: str
    time: int


@dataclass(frozen=True, slots=True)
class History:
    """The questions, newest first, and how many commits were left out, by reason."""

    asked: tuple[Asked, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def history(
    git: Git,
    tip: str = "HEAD",
    *,
    at: str = "head",
    limit: int = 0,
    most_commits: int = 5_000,
    among: Collection[str] | None = None,
) -> History:
    """The golden set of a repository, out of its newest commits.

    git: runs git in the folder that is indexed. tip: the commit that is indexed. at: "head" or "parent", as above.
    limit: questions at most, 0 for all. among: ids of the commits that may ask, None for all: which of two that say the
    same asks depends on the form, since one may be gone at head. Fails as `git` does, and with ValueError where `at` is
    another word.
    """
    if at not in ("head", "parent"):
        raise ValueError(f"at is {at!r}; it is 'head' or 'parent'")
    past = commits(git, tip, most_commits)
    files = tree(git, tip)
    names = PathNames.of({*files, *(path for one in past for c in one.changes for path in (c.before, c.after) if path)})
    fates = Fates(files)
    found: list[Asked] = []
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    for commit in past:
        text = cleaned(commit.message, names)
        reason = why_left_out(commit, text)
        paths = gold_paths(commit)
        if not reason and at == "head":
            paths = [now for path in paths if (now := fates.after(commit, path))]
            reason = "" if paths else "gone since"
        fates.before(commit)
        if among is not None and commit.id not in among:
            continue
        if not reason and text in seen:
            reason = "said twice"
        if not reason and limit and len(found) >= limit:
            break
        if reason:
            left_out[reason] += 1
            continue
        seen.add(text)
        found.append(_asked(commit, text, paths))
    if at == "parent":
        found = _with_lines(found, hunks(git, [one.commit for one in found]))
    return History(tuple(found), dict(left_out))


def why_left_out(commit: Commit, text: str) -> str:
    """Why a commit makes no question; "" where it does. text: its cleaned message."""
    sources = [change for change in commit.changes if is_source(change.before or change.after)]
    rules = (
        ("merge", len(commit.parents) > 1 or is_merge(commit.message)),
        ("first commit", not commit.parents),
        ("by a program", is_bot(commit.author)),
        ("revert", is_revert(commit.message)),
        ("version", is_version_bump(commit.message)),
        ("cosmetic", is_cosmetic(commit.message)),
        ("no source changed", not sources),
        (f"over {MOST_FILES} files", len(sources) > MOST_FILES),
        ("only new files", not gold_paths(commit)),
        (f"under {FEWEST_WORDS} words", words(text) < FEWEST_WORDS),
    )
    return next((name for name, holds in rules if holds), "")


def gold_paths(commit: Commit) -> list[str]:
    """The source files that a commit changed, as they were named at its parent; what it only moved is none."""
    return [change.before for change in commit.changes if change.status in "MRDT" and is_source(change.before)]


class Fates:
    """Under which name today's tree has a file of the past: fed with commits from the newest back."""

    def __init__(self, today: Iterable[str]):
        """today: the paths of the tree that the newest commit leaves."""
        self._today = frozenset(today)
        self._moved: dict[str, str] = {}  # path just after the commit in hand -> today's, "" where it is gone

    def after(self, commit: Commit, before: str) -> str:
        """Today's name of a file that was called `before` at the commit's parent; "" where there is none."""
        for change in commit.changes:
            if change.before == before:
                return self._now(change.after) if change.after else ""
        return self._now(before)

    def before(self, commit: Commit) -> None:
        """Step behind a commit: what comes next is older."""
        then = {change.before: self.after(commit, change.before) for change in commit.changes if change.before}
        for change in commit.changes:
            if change.after and change.after != change.before:
                self._moved.pop(change.after, None)
        self._moved.update(then)

    def _now(self, path: str) -> str:
        return self._moved.get(path, path if path in self._today else "")


def split(asked: Sequence[Asked], older_share: float = OLDER_SHARE) -> tuple[list[Asked], list[Asked]]:
    """(the older part, the newer part), each oldest first: what is learned is judged by what came after it.

    Commits of one second, as a rebase makes them, stand on one side: where the cut falls among them, on the side that
    moves it less. So the time of the first newer one tells both parts apart.
    """
    by_time = sorted(asked, key=lambda one: (one.time, one.commit))
    wanted = int(len(by_time) * older_share)
    times = [one.time for one in by_time]
    cuts = [n for n in range(len(times) + 1) if n in (0, len(times)) or times[n - 1] < times[n]]
    cut = min(cuts, key=lambda n: abs(n - wanted))
    return by_time[:cut], by_time[cut:]


def _asked(commit: Commit, text: str, paths: Sequence[str]) -> Asked:
    distinct = tuple(dict.fromkeys(paths))
    category = "commit, names a file's stem" if names_stem(text, distinct) else "commit"
    question = Question(id=commit.id[:12], query=text, gold=tuple(Gold(path) for path in distinct), category=category)
    return Asked(question, commit.id, commit.parents[0], commit.time)


def _with_lines(asked: Sequence[Asked], lines: Mapping[str, Ranges]) -> list[Asked]:
    """With the changed lines in place of whole files, where git told them."""
    found = []
    for one in asked:
        ranges = lines.get(one.commit, {})
        gold = tuple(
            Gold(place.path, first, last)
            for place in one.question.gold
            for first, last in ranges.get(place.path, ((0, 0),))
        )
        q = one.question
        question = Question(q.id, q.query, gold, q.category, q.language, q.repository)
        found.append(Asked(question, one.commit, one.parent, one.time))
    return found
