"""What `code-assistant eval` does: ways to rank side by side on one set of questions."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_app.cli import parents
from rag_app.cli.client import Failure, Server
from rag_app.cli.measuring import Asker, Values, figures, table
from rag_app.cli.output import printable, say
from rag_app.cli.past import indexed_repository, past_of
from search_eval.golden import BadQuestion, Question, read
from search_eval.history import Asked, History
from search_eval.history import history as golden_history

NO_QUESTION = 3

# Paths that are not indexed: enough to see what is wrong with them.
MISSING_SHOWN = 3

# What the index is like when a question of the history is asked, as reports say it.
AT_HEAD = "at HEAD: the change itself is in the index, which makes them easier than a change to come"
AT_PARENT = "at the parent: each asked of the tree before its commit"
WITHOUT_DOCS = "out of doc comments, asked of a copy without them: a set of its own, which is never tuned on"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, as the command's options have it."""

    repo: str
    questions: Path | None = None
    limit: int = 300
    at_parent: bool = False
    doc_comments: bool = False
    history: Path | None = None


def evaluate(rag: Server, wanted: Wanted) -> dict[str, Any]:
    """The report. Fails, in words, where there is nothing to ask or the server cannot answer; changes nothing."""
    started = time.monotonic()
    if [wanted.questions is not None, wanted.at_parent, wanted.doc_comments].count(True) > 1:
        raise Failure("--questions, --at-parent and --doc-comments are three sets of questions; give one of them")
    repository = indexed_repository(rag, wanted.repo)
    ranking = rag.call("GET", f"/v1/repositories/{repository['id']}/ranking")
    ways = _ways(ranking["defaults"], ranking["weights"])
    told: dict[str, Any]
    if wanted.questions is not None:
        questions = own_questions(wanted.questions)[: wanted.limit]
        _warn_of_missing(rag, repository, questions)
        told = {"at": "as indexed"}
        values, searches = _at_once(Asker(rag, repository["id"], questions, is_past=False), ways)
    elif wanted.doc_comments:
        past = past_of(repository, wanted.history)
        values, questions, searches = parents.without_docs(rag, repository, past, wanted.limit, ways)
        told = {"at": WITHOUT_DOCS}
    else:
        asked, told = _of_history(repository, wanted, ranking["evidence"])
        questions = [one.question for one in asked]
        if wanted.at_parent:
            past = past_of(repository, wanted.history)
            values, searches = parents.at_parents(rag, repository, past, asked, ways)
        else:
            values, searches = _at_once(Asker(rag, repository["id"], questions), ways)
    level = "functions" if wanted.doc_comments else "files"
    return {
        "repository": repository["name"],
        **told,
        "level": level,
        "questions": len(questions),
        "figures": {name: figures(row, level) for name, row in values.items()},
        "by_category": _by_category(questions, values["default"]),
        "searches": searches,
        "took_s": round(time.monotonic() - started, 1),
    }


def own_questions(path: Path) -> list[Question]:
    """The questions of a file. Fails, in words, where it holds none or one that is none."""
    try:
        questions = read(path)
    except (OSError, UnicodeDecodeError) as exc:
        raise Failure(f"cannot read {path}: {exc}") from exc
    except BadQuestion as exc:
        raise Failure(str(exc)) from exc
    if not questions:
        raise Failure(f"{path} holds no question", exit_code=NO_QUESTION)
    return questions


def _warn_of_missing(rag: Server, repository: dict[str, Any], questions: list[Question]) -> None:
    """Say which places of the questions are not in the index: no search can find them, and each counts as a miss."""
    paths = dict.fromkeys(gold.path for question in questions for gold in question.gold)
    missing = [path for path in paths if not _is_indexed(rag, str(repository["id"]), path)]
    if missing:
        first = ", ".join(missing[:MISSING_SHOWN]) + (", …" if len(missing) > MISSING_SHOWN else "")
        say(
            f"{len(missing)} of the {len(paths)} files that answer are not in the index of {repository['name']}: "
            f"no search finds them, and each counts as missed: {first}"
        )


def _is_indexed(rag: Server, repository: str, path: str) -> bool:
    try:
        rag.call("GET", "/v1/source", params={"repository": repository, "path": path, "start_line": 1, "end_line": 1})
    except Failure as failure:
        return failure.code != "not_found"
    return True


def from_history(
    repository: dict[str, Any],
    history: Path | None,
    limit: int,
    *,
    at: str = "head",
    among: Collection[str] | None = None,
) -> History:
    """The newest questions out of a repository's past; among: ids of the commits that may ask, None for all.

    Fails, in words, where there is none.
    """
    past = past_of(repository, history)
    found = golden_history(past.git, past.tip, at=at, limit=limit, among=among)
    if not found.asked:
        left = ", ".join(f"{count} {reason}" for reason, count in sorted(found.left_out.items())) or "no commit at all"
        raise Failure(f"no commit of {past.folder} makes a question ({left})", exit_code=NO_QUESTION)
    return found


def _of_history(
    repository: dict[str, Any], wanted: Wanted, evidence: dict[str, Any]
) -> tuple[list[Asked], dict[str, Any]]:
    """The questions, and what is told of where they come from; only newer ones than the kept weights were tuned on."""
    found = from_history(repository, wanted.history, wanted.limit, at="parent" if wanted.at_parent else "head")
    asked = list(found.asked)
    since = evidence.get("judged_from")
    newer = [one for one in asked if isinstance(since, int | float) and one.time >= since]
    told = {
        "at": AT_PARENT if wanted.at_parent else AT_HEAD,
        "newest": asked[0].time,
        "oldest": (newer or asked)[-1].time,
        "left_out": dict(found.left_out),
        "is_newer_than_tuned_on": bool(newer),
    }
    if newer:
        say(f"the kept weights were tuned on the older commits: only the {len(newer)} newer ones are asked")
    return newer or asked, told


def _ways(defaults: dict[str, float], kept: dict[str, float]) -> parents.Ways:
    """The rows of the report: row -> (mode, ranking)."""
    ways: dict[str, tuple[str, dict[str, float]]] = {"default": ("hybrid", defaults)}
    if kept:
        ways["kept"] = ("hybrid", {**defaults, **kept})
    return {**ways, "words only": ("sparse", {}), "meaning only": ("dense", {})}


def _at_once(asker: Asker, ways: parents.Ways) -> tuple[dict[str, list[Values]], int]:
    return {name: asker.all(ranking, mode) for name, (mode, ranking) in ways.items()}, asker.searches


def _by_category(questions: list[Question], values: list[Values]) -> dict[str, dict[str, Any]]:
    names = sorted({question.category for question in questions if question.category})
    told = {}
    for name in names:
        of_it = [value for question, value in zip(questions, values, strict=True) if question.category == name]
        told[name] = {"questions": len(of_it), "ndcg10": figures(of_it)["ndcg10"]}
    return told if len(names) > 1 else {}


def shown(report: dict[str, Any]) -> str:
    """The report for a reader."""
    lines = [f"{printable(report['repository'])}: {report['questions']} questions, {report['level']}, {report['at']}\n"]
    lines.append(table(report["figures"]))
    for name, row in report["by_category"].items():
        one = row["ndcg10"]
        span = f"{one['mean']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
        lines.append(f"default, {printable(name)}: NDCG@10 {span} of {row['questions']}\n")
    if report.get("left_out"):
        left = ", ".join(f"{count:,} {reason}" for reason, count in sorted(report["left_out"].items()))
        lines.append(f"commits left out: {left}\n")
    lines.append(f"{report['searches']:,} searches in {report['took_s']:g} s\n")
    return "".join(lines)
