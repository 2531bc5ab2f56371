"""`python -m evals`: ask every question of every system; a report, and one line of JSON at the end."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.core.command import say
from evals.core.indexing import Index
from evals.core.product import PlainFusion, Product, without_each
from evals.core.ranking import Kept, System
from evals.core.stack import Service, cache_folder, started
from evals.core.task import Task
from evals.rivals.llamaindex import LlamaIndexPipeline, Vectors
from evals.rivals.ripgrep import Ripgrep, find
from evals.run import answered
from evals.tasks.commits import Commits
from evals.tasks.documents import Documents
from evals.tasks.ours import Ours, packages
from search_eval.metrics import measured

TASKS = ("ours", "repoloc", "cosqa", "stdlib")


def main() -> int:
    args = _parser().parse_args()
    cache = cache_folder()
    tasks = _tasks(cache / "sources", args)
    with tempfile.TemporaryDirectory() as logs, started(cache / "index", Path(logs), cache) as service:
        index = Index(service, say)
        systems = _systems(service, args)
        for task in tasks:
            answers = answered(task, systems, index, Kept(cache / "rankings"), say)
            for name, of in answers.rankings.items():
                values = [measured(of[q.id].found, q.gold) for q in answers.questions]
                row = {
                    k: round(sum(v[k] for v in values) / len(values), 4)
                    for k in ("ndcg10", "mrr10", "recall1", "recall5", "recall10")
                }
                print(json.dumps({"task": task.name, "system": name, "questions": len(values), **row}), flush=True)
    return 0


def _tasks(work: Path, args: argparse.Namespace) -> list[Task]:
    folder = os.environ.get("EVALSETS", "")
    clones = os.environ.get("EVALSETS_REPOSITORIES", "")
    tasks: list[Task] = []
    for name in args.tasks.split(","):
        if name == "repoloc":
            tasks.append(Commits(Path(folder) / name, Path(clones), work, at_most=args.at_most))
        elif name in ("cosqa", "stdlib"):
            tasks.append(Documents(name, Path(folder) / name, work))
        elif name == "ours":
            tasks.append(Ours(packages(), work.parent, say))
    return tasks


def _systems(service: Service, args: argparse.Namespace) -> Sequence[System]:
    found: list[System] = [Product("product", service)]
    if service.has_rankings():
        found.append(Product("no_model", service, overrides={"dense_share": 0}))
        found += without_each(service, service.weights()) if args.without else []
    found += [Product("bm25", service, "sparse"), Product("dense", service, "dense"), PlainFusion(service)]
    if not args.no_rivals:
        found += [Ripgrep(find()), LlamaIndexPipeline(Vectors(service.embedding_url, cache_folder() / "llamaindex.sqlite"))]
    if args.variants:
        found += [Product(n, service, overrides=w) for n, w in json.loads(Path(args.variants).read_text()).items()]
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evals")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--at-most", type=int)
    parser.add_argument("--without", action="store_true")
    parser.add_argument("--variants")
    parser.add_argument("--no-rivals", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
