"""The requests of TEI's routes beside /embed, as they are on the wire, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, StrictBool, StrictInt, StrictStr, WithJsonSchema

from embedding_service.features.embedding.encoding import Truncation
from embedding_service.features.embedding.schemas import WireDirection, WireInputs

_MAX_ID = 2**32 - 1  # TEI's ids are u32, and so are the tokenizer's


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts (sequences of one) and pairs (of two). is_single: it came without a list around it."""

    items: list[Sequence[str]]
    is_single: bool


def parse_texts(value: object) -> Texts:
    """Read a string, a pair `[a, b]`, or a batch `[[a], [b, c], …]`. Fails with ValueError, which names the wrong one.

    A list of strings is one pair, not a batch: so `["a"]` is a single text, and three strings are refused (TEI).
    """
    if isinstance(value, str):
        return Texts([[value]], True)
    if not isinstance(value, list) or not value:
        raise ValueError("must be a string, a pair [string, string], or a batch [[string], [string, string], ...]")
    if isinstance(value[0], str):
        return Texts([_text_or_pair(value, "")], True)
    return Texts([_text_or_pair(item, f" in item {index}") for index, item in enumerate(value)], False)


def _text_or_pair(item: object, where: str) -> list[str]:
    if isinstance(item, list) and 1 <= len(item) <= 2 and all(isinstance(text, str) for text in item):
        return item
    raise ValueError(f"expected [string] or [string, string]{where}, not {str(item)[:40]!r}")


def _parse_ids(value: object) -> object:
    """`[1, 2]` is one sequence of ids, `[[1, 2], …]` several."""
    return [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value


_PAIR = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}
_TEXTS = {"anyOf": [{"type": "string"}, _PAIR, {"type": "array", "items": _PAIR, "minItems": 1}]}
_IDS: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": _MAX_ID}}

WireTexts = Annotated[Texts, BeforeValidator(parse_texts), WithJsonSchema(_TEXTS)]
WireIds = Annotated[
    list[list[Annotated[StrictInt, Field(ge=0, le=_MAX_ID)]]],
    BeforeValidator(_parse_ids),
    WithJsonSchema({"anyOf": [_IDS, {"type": "array", "items": _IDS}]}),
]


class Truncated(BaseModel):
    """What all requests say of texts over the window."""

    truncate: StrictBool | None = None
    truncation_direction: WireDirection = "right"

    @property
    def truncation(self) -> Truncation:
        """As the encoder takes it."""
        return Truncation(self.truncate, self.truncation_direction)


class InputsRequest(Truncated):
    """POST /embed_all and /embed_sparse."""

    inputs: WireInputs
    prompt_name: StrictStr | None = None


class SimilarityInput(BaseModel):
    """A sentence and those it is compared with."""

    source_sentence: StrictStr
    sentences: list[StrictStr]


class SimilarityParameters(Truncated):
    """How to embed them."""

    prompt_name: StrictStr | None = None


class SimilarityRequest(BaseModel):
    """POST /similarity."""

    inputs: SimilarityInput
    parameters: SimilarityParameters | None = None


class PredictRequest(Truncated):
    """POST /predict."""

    inputs: WireTexts
    raw_scores: StrictBool = False


class RerankRequest(Truncated):
    """POST /rerank."""

    query: StrictStr
    texts: list[StrictStr]
    raw_scores: StrictBool = False
    return_text: StrictBool = False


class DecodeRequest(BaseModel):
    """POST /decode."""

    ids: WireIds
    skip_special_tokens: StrictBool = True


class VertexRequest(BaseModel):
    """POST /vertex: each instance is the body of another route."""

    instances: list[Any]
