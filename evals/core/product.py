"""The product as a system, asked over HTTP: whole, without its model, an arm by itself, and with one signal out."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evals.core.ranking import Ranking, reciprocal_rank_fusion
from evals.core.stack import CallFailed, Service
from evals.core.task import Batch
from search_eval.golden import Question
from search_eval.metrics import DEPTH, Found

# Enough for ten files where a file may give three chunks near the top.
LIMIT = 50

# What a caller may ask for at most; the arms are fused as deep as that.
ARM_LIMIT = 100


@dataclass(slots=True)
class Product:
    """Searches in one mode, with overrides of the ranking's weights. is_degraded: its embedding service is down."""

    name: str
    service: Service
    mode: str = "hybrid"
    overrides: Mapping[str, float] = field(default_factory=dict)
    limit: int = LIMIT
    is_degraded: bool = False
    version: str = ""  # it is what is being changed: never kept
    _repository: str = ""

    def prepare(self, batch: Batch, repository: str) -> None:
        """Questions go to this repository from here on."""
        self._repository = repository

    def rank(self, question: Question) -> Ranking:
        """One search. Fails as Service.call does, and where the service had a model that it should not, or had none."""
        body: dict[str, Any] = {
            "query": question.query,
            "repositories": [self._repository],
            "mode": self.mode,
            "limit": self.limit,
            "explain": True,
        }
        if self.overrides:
            body["ranking"] = dict(self.overrides)
        began = time.perf_counter()
        answer = self.service.call("POST", "/v1/search", body)
        took_s = time.perf_counter() - began
        hits, lacking = answer["hits"], ", ".join(answer["degraded"])
        # A query whose filters hold for nothing asks no arm.
        if bool(lacking) != self.is_degraded and (lacking or hits):
            how = f"searched without {lacking}" if lacking else "a search with its model"
            raise CallFailed(f"{self.name}: {how}, and that would be measured")
        found = tuple(Found(one["path"], one["start_line"], one["end_line"], len(one["content"])) for one in hits)
        told = tuple({"score": one["score"], **one["scores"], "symbol": one["symbol"]} for one in hits[:DEPTH])
        if answer.get("query") and told:
            told = ({**told[0], "query": answer["query"]}, *told[1:])
        return Ranking(found, took_s, told, tuple(answer["degraded"]))


@dataclass
class PlainFusion:
    """Plain reciprocal rank fusion of the product's two arms, made here: no boosts, no weights of paths."""

    service: Service
    name: str = "rrf"
    version: str = ""

    def __post_init__(self) -> None:
        """The two arms, as deep as a caller may ask."""
        self._arms = [Product(mode, self.service, mode, limit=ARM_LIMIT) for mode in ("dense", "sparse")]

    def prepare(self, batch: Batch, repository: str) -> None:
        """As Product's."""
        for arm in self._arms:
            arm.prepare(batch, repository)

    def rank(self, question: Question) -> Ranking:
        """Two searches, fused."""
        rankings = [arm.rank(question) for arm in self._arms]
        return Ranking(tuple(reciprocal_rank_fusion(rankings)), sum(ranking.took_s for ranking in rankings))


def neutral(name: str) -> float | None:
    """The value of a weight with which its signal is out; None where a weight has none, or is told apart.

    Weights and factors multiply, boosts add; per_file limits, and 0 is no limit. no_model tells the model's part.
    """
    if name.endswith(("_weight", "_factor")):
        return 1.0
    if name.endswith("_boost") or name == "per_file":
        return 0.0
    return None


def without_each(service: Service, weights: Mapping[str, float]) -> list[Product]:
    """One system for each signal that counts by default, with that signal out."""
    out = {name: neutral(name) for name in weights}
    return [
        Product(f"without_{name}", service, overrides={name: value})
        for name, value in out.items()
        if value is not None and value != weights[name]
    ]
