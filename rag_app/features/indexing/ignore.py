""".gitignore as git reads it, nested files and negations included, in folders that need not be git's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

# A longer ignore file is somebody's mistake, and matching costs by the pattern.
MAX_BYTES = 200_000


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


def globs(patterns: Sequence[str]) -> GitIgnoreSpec:
    """A request's include or exclude patterns, in the syntax of .gitignore."""
    return GitIgnoreSpec.from_lines(patterns)


def _read(path: Path) -> GitIgnoreSpec | None:
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return GitIgnoreSpec.from_lines(line for line in lines if line.strip())
