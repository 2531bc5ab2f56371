""".gitignore as git reads it, nested files and negations included, in folders that need not be git's."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from rag_app.core.globs import linear
from service_kit.errors import ValidationFailed

# A longer ignore file is somebody's mistake, and matching costs by the pattern.
MAX_BYTES = 200_000

# Each may match at every folder of a path, so that their combinations multiply: four took 1.1 s for a path of 200
# folders, three 15 ms. People write one or two.
MAX_DOUBLE_STARS = 3


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

    One that cannot be read is passed over, as git does it: it must not cost the others, nor the whole repository.
    Matching takes time linear in a name's length.
    """
    return GitIgnoreSpec([pattern for line in patterns if (pattern := _compiled(line)) is not None])


def check_globs(field: str, patterns: Iterable[str]) -> None:
    """ValidationFailed for the first pattern that globs() would pass over. field: what the message calls them."""
    for line in patterns:
        is_said = bool(line.strip()) and not line.startswith("#")
        pattern = _compiled(line)
        if is_said and (pattern is None or pattern.include is None):
            raise ValidationFailed(
                f"{field}: {line!r} is not a pattern in the syntax of .gitignore, "
                f"or has more than {MAX_DOUBLE_STARS} '**'"
            )


def _compiled(line: str) -> GitIgnoreSpecPattern | None:
    """None where it cannot be read, or would be too dear."""
    if line.count("**") > MAX_DOUBLE_STARS:
        return None
    try:
        (pattern,) = GitIgnoreSpec.from_lines([line]).patterns
        if pattern.regex is not None:
            pattern.regex = re.compile(linear(pattern.regex.pattern))
    except (ValueError, re.error):
        return None
    return pattern


def _read(path: Path) -> GitIgnoreSpec | None:
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return globs(line for line in lines if line.strip())
