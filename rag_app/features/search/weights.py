"""What each signal of the ranking weighs: defaults, bounds, and another value for one search or one repository."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rag_app.features.search.understanding import QueryKind, Understood
from service_kit.errors import ValidationFailed


def _weight(default: float, neutral: float, highest: float, what: str) -> Any:
    return field(default=default, metadata={"neutral": neutral, "highest": highest, "what": what})


# What the dense arm weighs in the fusion; the sparse arm weighs the rest. Fix commits want .3 to .5, web queries and
# docstrings .7, and what tells them apart is whether the dense arm has a favourite: NDCG@10, all-MiniLM-L6-v2,
# beside shares that are always the same, .4 and .7 where the best cosine leads the tenth by .11:
#                                              always .4   .5    .6    .7   by lead
# 123 commits (4 repositories)                     .789  .786  .765  .744   .791
# 141 questions (8 packages)                       .578  .570  .582  .576   .580
# 237 docstrings of a standard library             .680  .690  .695  .699   .702
# 124 web queries for functions                    .542  .559  .566  .580   .572
# And sentences want more than titles do: .6 for those of which two words in five are grammar gave +.015 on 202
# questions of ours, +.005 on docstrings, +.002 on web queries, -.004 on commits.

# Of the way to 1 that a chunk goes that says the query word for word: a message that was pasted, a line of code. Of 61
# messages and docstring lines taken out of seven repositories in four languages, the chunk that says it led for 48
# without, and 60 with this.

# Tests, docs and examples: measured elsewhere on nine repositories' fix commits, .4 to .6 gave +.158 NDCG@10 over
# weighing all alike.

# Who asks in a sentence asks what code does, and imports, constants and exports do little: .9, .8 and .7 gave +.006,
# +.010 and +.013 NDCG@10 on 202 questions (in every category that has a difference) and -.003, -.003 and -.005 on 125
# commits, of which 13 are sentences. For queries of any form .8 lost .021 on commits, which change just that.

# Documentation answers a sentence more often than a title: .5, .6 and .7 in place of .4 gave +.003, +.004 and +.006 on
# the same questions, all of it in the two packages of eight that have some, and -.001 on commits.

# A chunk is a passage: three of a file show what is in it, and more push other files out of sight.


@dataclass(frozen=True, slots=True)
class Weights:
    """All weights, from 0 to each one's highest; at its neutral value a signal is out."""

    dense_share: float = _weight(0.4, 0, 1, "what the cosine weighs in the fusion; BM25 weighs the rest")
    sure_factor: float = _weight(
        1.75, 1, 10, "times dense_share, where the dense arm has a favourite, or words are few"
    )
    prose_factor: float = _weight(1.5, 1, 10, "times dense_share, for a sentence, unless it is more already")
    error_factor: float = _weight(0.25, 1, 10, "times dense_share, for an error message")
    test_weight: float = _weight(0.4, 1, 1, "tests, unless the query asks for them")
    docs_weight: float = _weight(0.4, 1, 1, "documentation, unless the query asks for it")
    prose_docs_weight: float = _weight(0.6, 0, 1, "documentation at least, for a sentence")
    example_weight: float = _weight(0.4, 1, 1, "examples and benchmarks, unless the query asks for them")
    config_weight: float = _weight(0.5, 1, 1, "configuration and build files")
    deprecated_weight: float = _weight(0.6, 1, 1, "what is kept for older callers, unless the query asks for it")
    vendored_weight: float = _weight(0.4, 1, 1, "other people's code")
    generated_weight: float = _weight(0.3, 1, 1, "bundles and what tools wrote")
    block_weight: float = _weight(0.8, 1, 1, "code between definitions, for a sentence")
    definition_boost: float = _weight(0.5, 0, 1, "of the way to 1, for a definition whose name is the query")
    path_boost: float = _weight(0.5, 0, 1, "of the way to 1, for the files that the query names")
    line_boost: float = _weight(0.5, 0, 1, "of the way to 1, for the chunk with a line that the query names")
    coherence_boost: float = _weight(0.1, 0, 1, "for a file with several chunks that fit")
    evidence_boost: float = _weight(0.2, 0, 1, "for code whose tests fit")
    verbatim_boost: float = _weight(0.5, 0, 1, "of the way to 1, for a chunk that says the query word for word")
    rerank_share: float = _weight(0.5, 0, 1, "what a cross-encoder's score weighs, where RERANK_URL names one")
    per_file: float = _weight(3, 0, 100, "chunks of a file near the top; 0: as many as there are")

    def overridden(self, values: Mapping[str, float]) -> "Weights":
        """These weights with other values for some. ValidationFailed for an unknown name or a value out of bounds."""
        known = {one.name: one.metadata["highest"] for one in dataclasses.fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValidationFailed(f"ranking: no weight is called {name[:100]!r}; there are {', '.join(known)}")
            if not (math.isfinite(value) and 0 <= value <= known[name]):
                raise ValidationFailed(f"ranking: {name} is {value:g}; it may be 0 to {known[name]:g}")
            # A limit below one would be none.
            if name == "per_file" and value != int(value):
                raise ValidationFailed(f"ranking: per_file is {value:g}; it is a whole number")
        return dataclasses.replace(self, **values)

    def dense_share_of(self, asked: Understood, *, is_sure: bool) -> float:
        """What the cosine weighs for a query. is_sure: as fusion.is_sure tells."""
        if asked.kind == QueryKind.ERROR:
            return min(1.0, self.dense_share * self.error_factor)
        factor = max(self.sure_factor if is_sure else 1.0, self.prose_factor if asked.is_prose else 1.0)
        return min(1.0, self.dense_share * factor)

    def of_class(self, kind: str, *, is_prose: bool = False) -> float:
        """What a file's class (paths.path_class) weighs, asked for by nobody. is_prose: for a sentence."""
        weight: float = getattr(self, f"{kind}_weight", 1.0)
        return max(weight, self.prose_docs_weight) if kind == "docs" and is_prose else weight

    def named(self) -> dict[str, float]:
        """Name -> value."""
        return dataclasses.asdict(self)


def neutral() -> dict[str, float]:
    """Name -> the value with which the signal is out."""
    return {one.name: one.metadata["neutral"] for one in dataclasses.fields(Weights)}
