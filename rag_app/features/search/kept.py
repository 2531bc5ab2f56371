"""Weights that are kept for one repository: searches of it alone are ranked with them, all others with the defaults."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

from rag_app.core.models import Scope
from rag_app.db.manifest import Manifest
from rag_app.db.records import KeptRanking
from rag_app.features.search.weights import Weights
from service_kit.errors import ValidationFailed

_log = logging.getLogger("rag_app.search")

# A report of a tuning takes 2,000; it is read at every search.
MAX_EVIDENCE_CHARS = 20_000


def kept_weights(manifest: Manifest, scope: Scope) -> tuple[Weights, bool]:
    """The weights of a search in this scope before its request's own, and whether they are a repository's.

    Kept ones that this version of the program does not know are passed over whole: they were judged together.
    """
    if len(scope) != 1:
        return Weights(), False
    [repository] = scope
    kept = manifest.rankings.of(repository)
    if kept is None:
        return Weights(), False
    try:
        return Weights().overridden(kept.weights), True
    except ValidationFailed as exc:
        _log.warning("kept weights are passed over: %s", exc.message, extra={"repository": repository})
        return Weights(), False


def told(manifest: Manifest, repository: str, scope: Scope) -> KeptRanking | None:
    """What is kept for a repository, or None; NotFound where it is not in scope."""
    manifest.repository(repository, scope)
    return manifest.rankings.of(repository)


def keep(
    manifest: Manifest, repository: str, scope: Scope, weights: Mapping[str, float], evidence: Mapping[str, Any]
) -> None:
    """Keep weights for a repository, in place of any before; those that are not named at the defaults of today.

    All are kept: a later release's other defaults would make of a few that differ a set that nobody measured.
    NotFound where it is not in scope, ValidationFailed for an unknown name, a value out of bounds, weights that are the
    defaults, or evidence that is too long or no JSON. Conflict while the index is being restored.
    """
    manifest.repository(repository, scope)
    whole = Weights().overridden(weights).named()
    if whole == Weights().named():
        raise ValidationFailed("weights: these are the defaults, which need not be kept; DELETE goes back to them")
    try:
        length = len(json.dumps(dict(evidence), allow_nan=False))
    except ValueError as exc:
        raise ValidationFailed("evidence: it holds numbers that JSON has not") from exc
    if length > MAX_EVIDENCE_CHARS:
        raise ValidationFailed(f"evidence: it has {length} characters; the limit is {MAX_EVIDENCE_CHARS}")
    manifest.rankings.keep(repository, whole, evidence)


def forget(manifest: Manifest, repository: str, scope: Scope) -> None:
    """Go back to the defaults. NotFound where it is not in scope; Conflict while the index is being restored."""
    manifest.repository(repository, scope)
    manifest.rankings.forget(repository)


def bounds() -> dict[str, tuple[float, float, float]]:
    """Weight -> (lowest, highest, neutral): the value at neutral takes its signal out."""
    fields = dataclasses.fields(Weights)
    return {one.name: (0.0, float(one.metadata["highest"]), float(one.metadata["neutral"])) for one in fields}
