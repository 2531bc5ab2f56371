"""Questions that need another tree than the one that is indexed: each its commit's parent, or one without its docs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rag_app.cli.client import Failure, Server
from rag_app.cli.measuring import Asker, Values
from rag_app.cli.output import say
from rag_app.cli.past import Past
from rag_app.cli.scratch import ScratchCopy, forget_left_over, scratch_clone
from search_eval.doc_comments import documented, questions, without
from search_eval.git_log import tree
from search_eval.golden import Question
from search_eval.history import Asked
from search_eval.source_paths import is_source

# Row -> (mode, ranking).
Ways = Mapping[str, tuple[str, Mapping[str, float]]]

# Files over this size are not indexed by default, so that none of their functions could be found.
MAX_FILE_BYTES = 1_000_000


def at_parents(
    rag: Server, repository: Mapping[str, Any], past: Past, asked: Sequence[Asked], ways: Ways
) -> tuple[dict[str, list[Values]], int]:
    """Row -> the metrics of each question in the order given, and how many searches that took.

    Fails where the scratch copy may not be indexed or a job fails.
    """
    by_time = sorted(range(len(asked)), key=lambda index: (asked[index].time, asked[index].commit))
    values: dict[str, list[Values]] = {name: [{} for _ in asked] for name in ways}
    searches = 0
    forget_left_over(rag, past)
    with scratch_clone(past) as clone, ScratchCopy(rag, clone.indexed, repository) as copy:
        for done, index in enumerate(by_time, 1):
            clone.checkout(asked[index].parent)
            asker = Asker(rag, copy.synced(), [asked[index].question], is_past=False)
            for name, (mode, ranking) in ways.items():
                values[name][index] = asker.values(0, ranking, mode)
            searches += asker.searches
            if done % 10 == 0:
                say(f"{done} of {len(asked)} parents asked")
    return values, searches


def without_docs(
    rag: Server, repository: Mapping[str, Any], past: Past, limit: int, ways: Ways
) -> tuple[dict[str, list[Values]], list[Question], int]:
    """As at_parents, of doc comments, with the questions: asked of a tree that has none of their documentation."""
    forget_left_over(rag, past)
    with scratch_clone(past) as clone:
        clone.checkout(past.tip)
        files: dict[str, str] = {}
        for path in tree(past.git, past.tip):
            place = clone.indexed / path
            if is_source(path) and place.is_file() and place.stat().st_size <= MAX_FILE_BYTES:
                files[path] = place.read_bytes().decode("utf-8", "replace")
        asked = questions(files, limit)
        if not asked:
            raise Failure(f"no function of {past.folder} has documentation that could ask for it", exit_code=3)
        for path, text in files.items():
            if found := documented(path, text):
                (clone.indexed / path).write_bytes(without(text, found).encode("utf-8", "replace"))
        with ScratchCopy(rag, clone.indexed, repository) as copy:
            asker = Asker(rag, copy.synced(), asked, is_past=False)
            return {name: asker.all(ranking, mode) for name, (mode, ranking) in ways.items()}, asked, asker.searches
