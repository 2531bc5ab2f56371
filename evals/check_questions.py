"""`python -m evals.check_questions`: are our questions well formed, and too easy for a search by words?

At most a third may have a gold file first under tuned ripgrep or BM25. Prints ids and ranks, and no query: half of the
questions are held out.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.core.command import say
from benchmarks.core.packages import unpacked
from evals.core.indexing import Index
from evals.core.loop import answered
from evals.core.product import Product
from evals.core.ranking import Kept, Ranking, System
from evals.core.stack import cache_folder, started
from evals.rivals.ripgrep import Ripgrep, find
from evals.tasks.ours import Ours, is_korean, packages, problems
from search_eval.golden import Question
from search_eval.metrics import by_file, first_rank

LARGEST_SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class Easy:
    """The questions whose gold file is first for a search by words; ranks: system -> rank of the first gold file."""

    asked: int
    questions: Sequence[tuple[Question, Mapping[str, int | None]]]

    @property
    def share(self) -> float:
        """Of all that were asked."""
        return len(self.questions) / self.asked


def easy(questions: Sequence[Question], rankings: Mapping[str, Mapping[str, Ranking]]) -> Easy:
    """Those that any of the systems answers first. rankings: by system and question."""
    found = []
    for question in questions:
        ranks = {name: first_rank(by_file(of[question.id].found, question.gold)) for name, of in rankings.items()}
        if 1 in ranks.values():
            found.append((question, ranks))
    return Easy(len(questions), found)


def main() -> int:
    """Check all packages. Returns 1 where a question is wrong or too many are easy."""
    cache, pinned = cache_folder(), packages()
    wrong = []
    for one in pinned:
        [root] = unpacked([one.fetch], cache, say)
        wrong += problems(one, root)
    print("\n".join(wrong) or "every gold place is there")
    task = Ours(pinned, cache, say)
    with tempfile.TemporaryDirectory() as logs, started(cache / "index", Path(logs), cache) as service:
        systems: list[System] = [Ripgrep(find()), Product("bm25", service, "sparse")]
        answers = answered(task, systems, Index(service, say), Kept(cache / "rankings"), say)
    main_ones = [question for question in answers.questions if not is_korean(question)]
    found = easy(main_ones, answers.rankings)
    for question, ranks in found.questions:
        told = ", ".join(f"{name} {rank or '-'}" for name, rank in ranks.items())
        print(f"  {question.id} ({question.category}): {told}")
    for title in ("category", "repository"):
        asked = Counter(getattr(question, title) for question in main_ones)
        first = Counter(getattr(question, title) for question, _ in found.questions)
        print(f"by {title}: " + ", ".join(f"{name} {first[name]}/{count}" for name, count in asked.items()))
    print(
        f"first for a search by words: {len(found.questions)} of {found.asked}, {found.share:.3f}; at most 1/3 may be"
    )
    return 1 if wrong or found.share > LARGEST_SHARE else 0


if __name__ == "__main__":
    sys.exit(main())
