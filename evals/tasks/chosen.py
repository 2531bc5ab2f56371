"""Tasks by their names; those whose data is not at hand are left out, and said so."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from evals.core.task import Task
from evals.tasks.commits import Commits
from evals.tasks.documents import Documents
from evals.tasks.ours import Ours, packages

TASKS = ("ours", "repoloc", "cosqa", "stdlib")

# Of each set in a quick run: to see that it works, and not for a figure.
QUICK_PACKAGES, QUICK_COMMITS = 2, 2


def chosen(
    names: Sequence[str],
    env: Mapping[str, str],
    cache: Path,
    say: Callable[[str], None],
    is_quick: bool = False,
    at_most: int | None = None,
) -> tuple[list[Task], list[str]]:
    """The tasks, and a sentence for each that cannot run.

    env: EVALSETS and EVALSETS_REPOSITORIES name folders. cache: where archives and sources are kept. is_quick: a few
    questions of `ours` and `repoloc`. at_most: commits of each repository of `repoloc`.
    """
    folder, clones = env.get("EVALSETS", ""), env.get("EVALSETS_REPOSITORIES", "")
    work = cache / "sources"
    tasks: list[Task] = []
    skipped = []
    for name in names:
        if name == "ours":
            pinned = packages()
            tasks.append(Ours(pinned[:QUICK_PACKAGES] if is_quick else pinned, cache, say))
        elif not folder or not (Path(folder) / name).is_dir():
            skipped.append(f"{name} did not run: EVALSETS names no folder that holds it.")
        elif name != "repoloc":
            tasks.append(Documents(name, Path(folder) / name, work))
        elif not clones or not Path(clones).is_dir():
            skipped.append(f"{name} did not run: EVALSETS_REPOSITORIES names no folder of clones.")
        else:
            most = at_most or (QUICK_COMMITS if is_quick else None)
            tasks.append(Commits(Path(folder) / name, Path(clones), work, at_most=most))
    return tasks, skipped
