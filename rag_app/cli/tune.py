"""`code-assistant eval` and `tune`: how well a repository is searched, and weights that its own history chooses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_app.cli.client import Failure, Server
from rag_app.cli.interrupts import Interrupted, Interrupts
from rag_app.cli.options import DEFAULT_SERVER, ServerOption
from rag_app.cli.output import emit, say
from rag_app.cli.scratch import FORGET_LIMIT_S

# The exit code where nothing is significantly better.
NOT_KEPT = 1

OneRepoOption = Annotated[
    str, typer.Option("--repo", metavar="NAME|ID|PATH", help="The indexed repository; by its folder, too.")
]
HistoryOption = Annotated[
    Path | None,
    typer.Option("--history", metavar="PATH", help="A clone with its history, where the indexed folder has none."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]


def evaluate(
    repo: OneRepoOption,
    questions: Annotated[
        Path | None,
        typer.Option("--questions", metavar="FILE", help='Your own, one a line: {"id", "query", "gold": [{"path"}]}.'),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many questions.")] = 300,
    at_parent: Annotated[
        bool,
        typer.Option("--at-parent", help="Index the tree before each commit, in a scratch copy: exact, and slow."),
    ] = False,
    doc_comments: Annotated[
        bool,
        typer.Option("--doc-comments", help="Ask by functions' documentation, in a scratch copy that lacks it."),
    ] = False,
    history: HistoryOption = None,
    as_json: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """Tell how well a repository is searched, by questions out of its own history. Changes nothing.

    Commits ask by their messages, the files that they changed answer. The index holds the change itself, which makes
    it easier than a change to come: --at-parent says how much. A scratch copy is gone when the command ends.

    Exit code: 0 told, 2 error, 3 no question, 130 Ctrl-C.
    """
    from rag_app.cli import eval_work

    wanted = eval_work.Wanted(repo, questions, limit, at_parent, doc_comments, history)
    with Server(server) as rag:
        report = _until_ended(lambda: eval_work.evaluate(rag, wanted))
    emit(json.dumps(report) + "\n" if as_json else eval_work.shown(report))


def tune(
    repo: OneRepoOption,
    budget: Annotated[int, typer.Option("--budget", min=1, help="Searches at most, those that judge aside.")] = 12_000,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="Or so many minutes of them.")] = 15.0,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many questions.")] = 600,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be kept, and keep nothing.")] = False,
    at_head: Annotated[
        bool,
        typer.Option("--at-head", help="Judge by the index as it is only: quick, and too kind to words of a commit."),
    ] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Go back to the defaults, and tune nothing.")] = False,
    history: HistoryOption = None,
    as_json: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """Find weights of the ranking that serve a repository better, by its own history, and keep them if they do.

    Tuned on the older questions, judged by the newer, at last in a scratch copy of the tree before each commit: kept
    only where the gain is significant (p < .05, interval above 0). They rank searches of this repository alone.

    Exit code: 0 kept (or would be), 1 nothing kept, 2 error, 3 too little history, 130 Ctrl-C: nothing is changed.
    """
    from rag_app.cli import tune_work

    with Server(server) as rag:
        if forget:
            say(tune_work.forget(rag, repo))
            return
        wanted = tune_work.Wanted(repo, budget, minutes, limit, at_head, history)
        report = _until_ended(lambda: tune_work.tuned(rag, wanted))
        if report["is_better"] and not dry_run:
            tune_work.keep(rag, report)
    emit(json.dumps(report) + "\n" if as_json else tune_work.shown(report))
    if not report["is_better"]:
        raise typer.Exit(NOT_KEPT)


def _until_ended(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        with Interrupts().raised(grace_s=FORGET_LIMIT_S):
            return work()
    except Interrupted as end:
        left = end.left or "nothing was changed"
        raise Failure(f"ended before it was done; {left}", exit_code=end.exit_code) from end
