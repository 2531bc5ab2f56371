""".gitignore as git reads it, nested files and negations included, in folders that need not be git's."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

# A longer ignore file is somebody's mistake, and matching costs by the pattern.
MAX_BYTES = 200_000

# Each may match at every folder of a path, so that their combinations multiply. People write one or two.
MAX_DOUBLE_STARS = 4

# A star, what must follow it, and the next star: where that follows first it may as well be, for the next star takes
# the rest. So the first place is the only one to be tried.
_BETWEEN_STARS = re.compile(r"\[\^/\]\*((?:\\.|\[(?!\^/\]\*)[^\]]*\]|[^\\\[()/])+)(?=\[\^/\]\*)")


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """The rules that hold in a folder: (folder they are relative to, patterns), outermost first.

    Folders are relative to the root that is indexed, "" being the root, "../" x n + name where they lie above it.
    """

    layers: tuple[tuple[str, GitIgnoreSpec], ...] = ()

    def within(self, folder: str, path: Path) -> "IgnoreRules":
        """These rules and those of `path`, a .gitignore in `folder`."""
        spec = _read(path)
        return self if spec is None else IgnoreRules((*self.layers, (folder, spec)))

    def is_ignored(self, path: str, is_folder: bool) -> bool:
        """Whether git would ignore it. The innermost file that has a say decides."""
        name = f"{path}/" if is_folder else path
        for folder, spec in reversed(self.layers):
            relative = name if folder in ("", "/") else name.removeprefix(f"{folder}/")
            verdict = spec.check_file(relative if not folder.startswith("/") else f"{folder[1:]}{relative}").include
            if verdict is not None:
                return verdict
        return False


def rules_above(root: Path) -> IgnoreRules:
    """Rules that reach into `root` from the git work tree that it is a folder of, and the tree's own exclude file."""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    rules = IgnoreRules()
    if top is None:
        return rules
    between = [folder for folder in (*reversed(root.parents), root) if folder == top or top in folder.parents]
    for folder in between:
        below = root.relative_to(folder).as_posix()
        prefix = "/" if below == "." else f"/{below}/"
        if folder == top:
            rules = rules.within(prefix, folder / ".git" / "info" / "exclude")
        if folder != root:
            rules = rules.within(prefix, folder / ".gitignore")
    return rules


def globs(patterns: Iterable[str]) -> GitIgnoreSpec:
    """Patterns in the syntax of .gitignore: of such a file, or a request's to include or exclude.

    Matching takes time linear in a name's length: `*a*a*a*a*b` and a name of 200 letters held a whole process for 9 s.
    """
    spec = GitIgnoreSpec.from_lines([pattern for pattern in patterns if pattern.count("**") <= MAX_DOUBLE_STARS])
    for pattern in spec.patterns:
        if pattern.regex is not None:
            pattern.regex = re.compile(_BETWEEN_STARS.sub(r"(?>[^/]*?\1)", pattern.regex.pattern))
    return GitIgnoreSpec(spec.patterns)


def _read(path: Path) -> GitIgnoreSpec | None:
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return globs(line for line in lines if line.strip())
