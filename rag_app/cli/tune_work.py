"""What `code-assistant tune` does: looks for weights on the older questions and judges them by the newer."""

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_app.cli.client import Failure, Server
from rag_app.cli.eval_work import AT_HEAD, AT_PARENT, from_history
from rag_app.cli.measuring import Asker, Values, figures, table
from rag_app.cli.output import printable, say
from rag_app.cli.parents import at_parents
from rag_app.cli.past import indexed_repository, past_of
from rag_app.cli.progress import duration
from rag_app.core.version import PROGRAM_VERSION
from search_eval.coordinates import Bounds, Found, coordinate_search
from search_eval.history import Asked, History, split
from search_eval.statistics import paired_interval, permutation_p

# The exit code of a history that cannot tell.
TOO_LITTLE_HISTORY = 3

# With fewer, only a gain of over .06 NDCG@10 would be told from luck: the differences of two rankings of one question
# have a standard deviation of about .2.
FEWEST_TO_JUDGE = 40

# Chance alone reaches this one time in twenty.
SIGNIFICANT_P = 0.05

# What these questions cannot tell. Their answers are source files, so that less of a class of others (tests, docs, …)
# always gains here, whatever a team asks: on one repository docs_weight went to 0, which "gained" .064. And how many
# chunks of a file stand near the top, no figure over files sees.
NOT_TUNED = re.compile(r"per_file|\w+_weight")

# What of a report is kept beside the weights, and of its last judgement.
_EVIDENCE = ("tuned_on", "judged_by", "judged_from", "tip", "searches", "took_s", "program")
_JUDGEMENT = ("at", "gain", "low", "high", "p")

NOT_SIGNIFICANT = "the gain on the newer questions is not significant"
NO_OTHER = "no other weights did better on the older questions"

# Searches by which the time of one is told before the work begins.
PROBES = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, as the command's options have it."""

    repo: str
    budget: int
    minutes: float
    limit: int
    at_head: bool = False
    history: Path | None = None


def tuned(rag: Server, wanted: Wanted) -> dict[str, Any]:
    """The report, with the weights found and whether they are better. Changes nothing.

    Fails, in words, where the history is too little or the server cannot answer.
    """
    started = time.monotonic()
    repository = indexed_repository(rag, wanted.repo)
    found = from_history(repository, wanted.history, wanted.limit)
    older, newer = _parts(found, repository["name"])
    ranking = rag.call("GET", f"/v1/repositories/{repository['id']}/ranking")
    defaults: dict[str, float] = ranking["defaults"]
    tuning = Asker(rag, repository["id"], [one.question for one in older])
    say(f"{len(older)} older questions to tune on, {len(newer)} newer ones to judge by")
    best = _search(tuning, defaults, movable(ranking["bounds"], ranking["idle"]), wanted, len(newer))
    rivals = {"default": defaults, "tuned": best.weights}
    if ranking["weights"]:
        rivals["kept"] = {**defaults, **ranking["weights"]}
    judged, searches = _judged(rag, repository, wanted, newer, rivals) if best.weights != defaults else ([], 0)
    return {
        "repository": repository["name"],
        "repository_id": repository["id"],
        "tuned_on": len(older),
        "judged_by": len(newer),
        "judged_from": newer[0].time,
        "tip": repository.get("commit", ""),
        "left_out": dict(found.left_out),
        "weights": {name: value for name, value in best.weights.items() if value != defaults[name]},
        "is_searched_to_the_end": best.is_over,
        "tuning_gain": round(_mean(best.scores) - _mean(tuning.ndcg(defaults, range(len(older)))), 4),
        "judged": judged,
        "is_better": bool(judged) and not judged[-1]["reason"],
        "reason": _decided(judged) if judged else NO_OTHER,
        "searches": tuning.searches + searches,
        "took_s": round(time.monotonic() - started, 1),
        "program": PROGRAM_VERSION,
    }


def _parts(found: History, name: str) -> tuple[list[Asked], list[Asked]]:
    """The older questions and the newer ones. Fails where these are too few to judge by."""
    older, newer = split(found.asked)
    if len(newer) < FEWEST_TO_JUDGE:
        raise Failure(
            f"too little history: {len(found.asked)} commits of {name} make a question, the {len(newer)} newest of "
            f"them to judge by, where {FEWEST_TO_JUDGE} are needed; nothing was changed",
            exit_code=TOO_LITTLE_HISTORY,
        )
    return older, newer


def _decided(judged: Sequence[Mapping[str, Any]]) -> str:
    """What the last judgement says, and which one that is."""
    last = judged[-1]
    where = "asked of the tree before each commit" if last["at"] == AT_PARENT else "by the index as it is"
    though = ", though by the index as it is it is" if len(judged) > 1 and last["reason"] == NOT_SIGNIFICANT else ""
    return f"{last['reason'] or 'the gain on the newer questions is significant'}, {where} (p {last['p']:.3g}){though}"


def _search(
    tuning: Asker, defaults: Mapping[str, float], bounds: Mapping[str, Bounds], wanted: Wanted, newer: int
) -> Found:
    probed = tuning.ndcg(defaults, range(min(PROBES, len(tuning.questions))))
    search_s = max(tuning.took_s, 1e-6) / len(probed)
    budget = min(wanted.budget, int(wanted.minutes * 60 / search_s))
    say(
        f"looking for weights: at most {budget:,} searches of {search_s * 1000:.0f} ms, {duration(budget * search_s)}; "
        "Ctrl-C ends it and changes nothing"
    )
    if not wanted.at_head:
        say(
            f"then, where they do better by the index as it is: {newer} trees more, some seconds each, not counted here"
        )
    return coordinate_search(defaults, bounds, len(tuning.questions), tuning.ndcg, budget, _tell)


def movable(bounds: Mapping[str, Mapping[str, float]], idle: Collection[str] = ()) -> dict[str, Bounds]:
    """Between what each weight that is tuned may lie. bounds: of all, and idle: those that do nothing, as the server
    tells them."""
    return {
        name: Bounds(one["lowest"], one["highest"])
        for name, one in bounds.items()
        if name not in idle and not NOT_TUNED.fullmatch(name)
    }


def _tell(found: Found) -> None:
    trial = found.trials[-1]
    if trial.is_taken:
        say(f"  {trial.name} {trial.value:g}: {trial.gain:+.3f} on the older questions")


def _judged(
    rag: Server,
    repository: dict[str, Any],
    wanted: Wanted,
    newer: Sequence[Asked],
    rivals: Mapping[str, dict[str, float]],
) -> tuple[list[dict[str, Any]], int]:
    """Judgements by the newer questions, the second only where the first finds a gain; and how many searches."""
    asker = Asker(rag, repository["id"], [one.question for one in newer])
    judged = [_judgement(AT_HEAD, {name: asker.all(weights) for name, weights in rivals.items()})]
    if judged[0]["reason"] or wanted.at_head:
        return judged, asker.searches
    values, searches = _at_parents(rag, repository, wanted, newer, rivals)
    return [*judged, _judgement(AT_PARENT, values)], asker.searches + searches


def _at_parents(
    rag: Server,
    repository: dict[str, Any],
    wanted: Wanted,
    newer: Sequence[Asked],
    rivals: Mapping[str, dict[str, float]],
) -> tuple[dict[str, list[Values]], int]:
    """The metrics of the newer questions, each asked of the tree before its commit, and how many searches that took."""
    commits = {one.commit for one in newer}
    asked = from_history(repository, wanted.history, 0, at="parent", among=commits).asked
    say(f"better by the index as it is; now asking each of {len(asked)} trees, some seconds a tree")
    ways = {name: ("hybrid", weights) for name, weights in rivals.items()}
    try:
        return at_parents(rag, repository, past_of(repository, wanted.history), asked, ways)
    except Failure as failure:
        hint = f"{failure.message}; --at-head judges by the index as it is, which flatters the words of a commit"
        raise Failure(hint, failure.exit_code, failure.code) from failure


def _judgement(at: str, values: Mapping[str, list[Values]]) -> dict[str, Any]:
    """The gain of the tuned weights over the defaults. reason: why it is none; "" where it is one."""
    ndcg = {name: [value["ndcg10"] for value in row] for name, row in values.items()}
    gain = paired_interval(ndcg["tuned"], ndcg["default"])
    p = permutation_p(ndcg["tuned"], ndcg["default"])
    reason = ""
    if not (p < SIGNIFICANT_P and gain.low > 0):
        reason = NOT_SIGNIFICANT
    elif "kept" in ndcg and _mean(ndcg["tuned"]) < _mean(ndcg["kept"]):
        reason = "the weights that are kept do better on the newer questions"
    return {
        "at": at,
        "figures": {name: figures(row) for name, row in values.items()},
        "gain": round(gain.mean, 4),
        "low": round(gain.low, 4),
        "high": round(gain.high, 4),
        "p": round(p, 5),
        "reason": reason,
    }


def keep(rag: Server, report: dict[str, Any]) -> None:
    """Keep the report's weights, with what they were judged by as their evidence; notes that they are kept."""
    evidence = {name: report[name] for name in _EVIDENCE}
    evidence |= {name: report["judged"][-1][name] for name in _JUDGEMENT}
    body = {"weights": report["weights"], "evidence": evidence}
    rag.call("PUT", f"/v1/repositories/{report['repository_id']}/ranking", body)
    report["is_kept"] = True


def forget(rag: Server, repo: str) -> str:
    """Go back to the defaults; what was done, in words."""
    repository = indexed_repository(rag, repo)
    path = f"/v1/repositories/{repository['id']}/ranking"
    was_kept = bool(rag.call("GET", path)["weights"])
    rag.call("DELETE", path)
    return f"{repository['name']} is ranked with the defaults" + (" again" if was_kept else ", as it was")


def shown(report: dict[str, Any]) -> str:
    """The report for a reader."""
    lines = []
    for one in report["judged"]:
        share = report["judged_by"] / (report["judged_by"] + report["tuned_on"])
        newer = f"the {report['judged_by']} newer questions ({share:.0%})"
        lines.append(
            f"{printable(report['repository'])}: {newer}, files, {one['at']}\n{table(one['figures'])}"
            f"gain in NDCG@10 {one['gain']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}], p {one['p']:.3g}\n\n"
        )
    if report["weights"]:
        weights = ", ".join(f"{name} {value:g}" for name, value in report["weights"].items())
        gained = f"{report['tuning_gain']:+.3f} on the {report['tuned_on']} older questions, which they were tuned on"
        lines.append(f"weights: {weights} ({gained})\n")
    if not report["is_searched_to_the_end"]:
        lines.append("the budget ended the search for weights; --budget and --minutes give more\n")
    lines.append(f"{report['searches']:,} searches in {report['took_s']:g} s\n")
    end = (
        "kept" if report.get("is_kept") else "not kept, for this was a trial" if report["is_better"] else "nothing kept"
    )
    lines.append(f"{end}: {report['reason']}\n")
    return "".join(lines)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
