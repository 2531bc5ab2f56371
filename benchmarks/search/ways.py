"""The ways in which one question is asked, so that what ranking adds is a difference of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.search.questions import Question

HITS = 10

ANYWHERE, OWN_FILE, NOWHERE = "anywhere", "own file", "nowhere"

# No package has it.
_NO_FILE = "there/is/no/such/file"


class WrongAnswer(Exception):
    """A search found what it should not, too little or too much, or had no model; the text says what."""


@dataclass(frozen=True, slots=True)
class Way:
    """A search. where: in what files; is_neutral: with every signal of the ranking out."""

    name: str
    mode: str
    about: str
    limit: int = HITS
    where: str = ANYWHERE
    is_neutral: bool = False

    def body(self, question: Question, neutral: Mapping[str, float]) -> dict[str, Any]:
        """What is sent. neutral: the weights with which no signal counts, by name."""
        body: dict[str, Any] = {"query": question.text, "mode": self.mode, "limit": self.limit}
        if self.where != ANYWHERE:
            # With a slash before it: this file alone, and none whose path ends so is looked for.
            body["paths"] = [f"/{question.path if self.where == OWN_FILE else _NO_FILE}"]
        if self.is_neutral:
            body["ranking"] = dict(neutral)
        return body

    def check(self, question: Question, answer: Mapping[str, Any]) -> None:
        """Fails with WrongAnswer where there are not as many hits as wanted, or a part of the search was left out."""
        wanted = 0 if self.where == NOWHERE else self.limit
        if answer["degraded"] or len(answer["hits"]) != wanted:
            lacking = f", without {', '.join(answer['degraded'])}" if answer["degraded"] else ""
            raise WrongAnswer(f"{self.name}: {len(answer['hits'])} hits of {wanted}{lacking} for {question.text!r}")


HYBRID = Way("hybrid", "hybrid", "the product")
NEUTRAL = Way("neutral", "hybrid", "the same with every signal at its neutral value", is_neutral=True)
DENSE = Way("dense", "dense", "the dense arm by itself")
SPARSE = Way("sparse", "sparse", "the sparse arm by itself")
SPARSE_ONE = Way("sparse_one", "sparse", "the sparse arm, of which one hit is fetched", limit=1)
AROUND = Way("around", "sparse", "the same in the question's own file: all but the arm", limit=1, where=OWN_FILE)
NOTHING = Way("nothing", "sparse", "the sparse arm in a file that is not there: all but arm and hits", where=NOWHERE)

WAYS = (HYBRID, NEUTRAL, DENSE, SPARSE, SPARSE_ONE, AROUND, NOTHING)


def neutral_weights(told: Mapping[str, Any]) -> dict[str, float]:
    """Of what GET /v1/repositories/{id}/ranking tells: the value of each signal with which it is out.

    Shares are left as they are: they say how the arms are fused, and 0 would leave an arm out.
    """
    bounds = {name: bound["neutral"] for name, bound in told["bounds"].items()}
    return {name: value for name, value in bounds.items() if not name.endswith("_share") and name not in told["idle"]}
