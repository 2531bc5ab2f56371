"""The requests of TEI's and OpenAI's routes as they are on the wire, checked. Answers are never pydantic models."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import orjson
from fastapi import Request
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    WithJsonSchema,
)

from service_kit.errors import ValidationFailed
from service_kit.failures import from_validation

Input = str | list[int]

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is to be embedded: texts and lists of token ids, in order. is_single: it came without a list around it."""

    items: list[Input]
    is_single: bool


def parse_inputs(value: object) -> Inputs:
    """Read a string, token ids, or a list of these. Fails with ValueError, which names the first wrong item."""
    if isinstance(value, str):
        return Inputs([value], True)
    if not isinstance(value, list):
        raise ValueError("must be a string, a list of strings, token ids, or a list of lists of token ids")
    if value and _is_id(value[0]):
        return Inputs([_ids(value, "")], True)
    return Inputs([_item(item, f" in item {index}") for index, item in enumerate(value)], False)


def _parse_texts(value: object) -> Inputs:
    inputs = parse_inputs(value)
    if not all(isinstance(item, str) for item in inputs.items):
        raise ValueError("must be a string or a list of strings")
    return inputs


def _item(item: object, where: str) -> Input:
    if isinstance(item, str):
        return item
    if isinstance(item, list):
        return _ids(item, where)
    raise ValueError(f"expected a string or a list of token ids{where}, not {type(item).__name__}")


def _ids(items: list[Any], where: str) -> list[int]:
    for item in items:
        if not _is_id(item):
            raise ValueError(f"expected token ids (integers from 0){where}, not {str(item)[:40]!r}")
    return items


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_TEXTS_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_IDS_SCHEMA: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_INPUTS_SCHEMA: dict[str, Any] = {
    "anyOf": [*_TEXTS_SCHEMA["anyOf"], _IDS_SCHEMA, {"type": "array", "items": _IDS_SCHEMA}],
    "examples": ["where is the lock taken?"],
}

WireInputs = Annotated[Inputs, BeforeValidator(parse_inputs), WithJsonSchema(_INPUTS_SCHEMA)]
WireTexts = Annotated[Inputs, BeforeValidator(_parse_texts), WithJsonSchema(_TEXTS_SCHEMA)]
Dimensions = Annotated[StrictInt, Field(ge=1)]


def _direction(value: object) -> object:
    # TEI takes these two spellings, and writes the capital one.
    return value.lower() if value in ("Left", "Right") else value


WireDirection = Annotated[Literal["left", "right"], BeforeValidator(_direction)]


class EmbedRequest(BaseModel):
    """POST /embed, as TEI has it; unknown fields are ignored, as TEI does."""

    inputs: WireInputs
    truncate: StrictBool | None = None
    truncation_direction: WireDirection = "right"
    prompt_name: StrictStr | None = None
    normalize: StrictBool = True
    dimensions: Dimensions | None = None


class TokenizeRequest(BaseModel):
    """POST /tokenize, as TEI has it."""

    inputs: WireTexts
    add_special_tokens: StrictBool = True
    prompt_name: StrictStr | None = None


class OpenAIEmbeddingRequest(BaseModel):
    """POST /v1/embeddings. `model` and `user` are taken and not used: the service has one model, as TEI."""

    input: WireInputs
    model: StrictStr | None = None
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Dimensions | None = None
    user: StrictStr | None = None


async def read(request: Request, model: type[_Model]) -> _Model:
    """The request's body as `model`. Fails with ValidationFailed.

    orjson and not FastAPI's reader: it refuses invalid UTF-8, lone surrogates and NaN, which no tokenizer can take.
    """
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as exc:
        raise ValidationFailed(f"the body is not JSON: {exc}") from exc
    return validated(body, model)


def validated(body: object, model: type[_Model]) -> _Model:
    """Parsed JSON as `model`. Fails with ValidationFailed."""
    if not isinstance(body, dict):
        raise ValidationFailed(f"the body must be a JSON object, not {type(body).__name__}")
    try:
        return model.model_validate(body)
    except ValidationError as exc:
        raise from_validation(exc.errors(include_url=False, include_context=False)) from exc
    except RecursionError as exc:
        raise ValidationFailed("the body is nested too deeply") from exc


def documented(model: type[BaseModel], answer: dict[str, Any]) -> dict[str, Any]:
    """What /docs shows of a body that `read` reads, and of the answer. answer: its JSON schema."""

    def content(schema: dict[str, Any]) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": schema}}}

    return {
        "requestBody": {"required": True, **content(_inlined(model.model_json_schema()))},
        "responses": {"200": content(answer)},
    }


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without `$defs`: inside an OpenAPI document its references would be of the document's root."""
    definitions = schema.pop("$defs", {})

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return whole(definitions[value["$ref"].removeprefix("#/$defs/")])
        return {key: whole(item) for key, item in value.items()}

    found: dict[str, Any] = whole(schema)
    return found


def array(items: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a list."""
    return {"type": "array", "items": items}


def record(**fields: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object with these fields and no others."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


NUMBER: dict[str, Any] = {"type": "number"}
INTEGER: dict[str, Any] = {"type": "integer"}
TEXT: dict[str, Any] = {"type": "string"}
VECTOR = array(NUMBER)
