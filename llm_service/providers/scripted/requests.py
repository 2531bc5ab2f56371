"""Reads requests as OpenAI's server does, and refuses in its words what it would refuse. Pure."""

from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from llm_service.core.errors import Refused
from llm_service.providers.scripted.script import CHAT, COMPLETIONS, MAX_DIMENSIONS
from llm_service.providers.scripted.tokens import text_of, token_count

# OpenAI's, for /v1/completions alone: a chat answers until it is done.
_DEFAULT_COMPLETION_TOKENS = 16

# field -> least and greatest value; None: no bound. A null counts as not given, as with OpenAI.
_DECIMALS = {"temperature": (0, 2), "top_p": (0, 1), "frequency_penalty": (-2, 2), "presence_penalty": (-2, 2)}
_INTEGERS = {"n": (1, 128), "max_tokens": (1, None), "max_completion_tokens": (1, None), "seed": (None, None)}
_OBJECTS = ("stream_options", "response_format", "logit_bias")


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid request for texts. prompts: one, or several of /v1/completions; each gets `n` choices.

    prompt_tokens: of all prompts together. max_tokens: of each choice, the rest of the window where none was asked.
    """

    path: str
    model: str
    prompts: tuple[str, ...]
    prompt_tokens: int
    max_tokens: int
    n: int
    seed: int
    stops: tuple[str, ...]
    is_usage_wanted: bool


def refuse(message: str, param: str | None = None, code: str | None = None, *, status: int = 400) -> NoReturn:
    """Fail as OpenAI does with a request that it cannot serve."""
    raise Refused(status, message, type="invalid_request_error", param=param, code=code)


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object that every request is."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        refuse("We could not parse the JSON body of your request.")
    if not isinstance(request, dict):
        refuse("The JSON body of your request must be an object.")
    return request


def last_said(request: dict[str, Any]) -> str:
    """What rules look at: the last user message, else the prompt or the input, "" for what cannot be read."""
    messages = request.get("messages")
    if isinstance(messages, list):
        for message in reversed(messages):
            if isinstance(message, dict) and message.get("role") == "user":
                return _content_text(message.get("content"))
        return ""
    given = request.get("prompt", request.get("input"))
    if isinstance(given, list):
        return "\n".join(item for item in given if isinstance(item, str))
    return given if isinstance(given, str) else ""


def model_of(request: dict[str, Any], served: list[str]) -> str:
    """The model that is asked for; one that is not served is OpenAI's 404."""
    model = request.get("model")
    if model is None:
        refuse("you must provide a model parameter", "model", "missing_required_parameter")
    if not isinstance(model, str):
        _wrong_type("model", "a string", model)
    if model not in served:
        told = f"The model `{model}` does not exist or you do not have access to it."
        refuse(told, "model", "model_not_found", status=404)
    return model


def read_texts(path: str, request: dict[str, Any], served: list[str], window: int) -> Asked:
    """A request of /v1/chat/completions or /v1/completions, checked. window: tokens of a prompt and its answer."""
    model = model_of(request, served)
    _check_fields(request)
    prompts = (chat_prompt(request),) if path == CHAT else texts_in(request, "prompt")
    counts = [token_count(prompt) for prompt in prompts]
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    if limit is None and path == COMPLETIONS:
        limit = _DEFAULT_COMPLETION_TOKENS
    check_window(max(counts), limit, window, "messages" if path == CHAT else "prompt")
    stop = request.get("stop") or ()
    return Asked(
        path=path,
        model=model,
        prompts=prompts,
        prompt_tokens=sum(counts),
        max_tokens=limit or window - max(counts),
        n=request.get("n") or 1,
        seed=request.get("seed") or 0,
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        is_usage_wanted=bool((request.get("stream_options") or {}).get("include_usage")),
    )


def chat_prompt(request: dict[str, Any]) -> str:
    """The messages as one text: what is counted, and what an answer is derived from."""
    messages = request.get("messages")
    if messages is None:
        refuse("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        _wrong_type("messages", "an array of objects", messages)
    if not messages:
        told = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        refuse(told, "messages", "empty_array")
    lines = [_line(message, f"messages[{i}]") for i, message in enumerate(messages)]
    return "\n".join([*lines, "assistant:"])


def texts_in(request: dict[str, Any], field: str) -> tuple[str, ...]:
    """The texts of `prompt` or `input`: one or several, each a string or a list of token ids."""
    given = request.get(field)
    if given is None:
        refuse(f"Missing required parameter: '{field}'.", field, "missing_required_parameter")
    if given and isinstance(given, list) and not any(_is_int(item) for item in given):
        return tuple(_text(item, f"{field}[{i}]") for i, item in enumerate(given))
    return (_text(given, field),)


def text_of_ids(ids: Any, field: str) -> str:
    """The text of a list of token ids."""
    if not isinstance(ids, list) or not all(_is_int(number) for number in ids):
        _wrong_type(field, "an array of token ids", ids)
    try:
        return text_of(ids)
    except ValueError as exc:
        refuse(f"Invalid '{field}': {exc}.", field, "invalid_value")


def check_window(prompt_tokens: int, limit: int | None, window: int, field: str) -> None:
    """Refuse a prompt that leaves no room for its answer. limit: tokens asked for, None: at least one."""
    told = f"This model's maximum context length is {window} tokens. However, "
    if prompt_tokens > window or (prompt_tokens == window and limit is None):
        told += f"your {field} resulted in {prompt_tokens} tokens. Please reduce the length of the {field}."
    elif limit is not None and prompt_tokens + limit > window:
        told += (
            f"you requested {prompt_tokens + limit} tokens ({prompt_tokens} in the {field}, {limit} in the completion)."
        )
        told += f" Please reduce the length of the {field} or completion."
    else:
        return
    refuse(told, field, "context_length_exceeded")


def dimensions_in(request: dict[str, Any]) -> int | None:
    """The length of embeddings that is asked for, None where the request leaves it open."""
    value = request.get("dimensions")
    if value is not None:
        if not _is_int(value):
            _wrong_type("dimensions", "an integer", value)
        _check_bounds("dimensions", value, 1, MAX_DIMENSIONS, "integer")
    return value


def _text(given: Any, field: str) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, list) and given:
        return text_of_ids(given, field)
    _wrong_type(field, "a string or an array of token ids", given)


def _line(message: Any, place: str) -> str:
    if not isinstance(message, dict):
        _wrong_type(place, "an object", message)
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        _wrong_type(f"{place}.role", "a string", role)
    if content is not None and not isinstance(content, str | list):
        _wrong_type(f"{place}.content", "a string or an array of parts", content)
    return f"{role}: {_content_text(content)}{_calls_text(message.get('tool_calls'))}"


def _calls_text(calls: Any) -> str:
    """The names and arguments of tool calls, as far as they are text."""
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    fields = [(one.get("name"), one.get("arguments")) for one in functions if isinstance(one, dict)]
    return "".join(part for pair in fields for part in pair if isinstance(part, str))


def _content_text(content: Any) -> str:
    """A message's text; of its parts, those that are text, and the kind of the others."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part for part in content if isinstance(part, dict)]
    return "".join(
        str(part.get("text", "")) if part.get("type") == "text" else f"<{part.get('type')}>" for part in parts
    )


def _check_fields(request: dict[str, Any]) -> None:
    for field, (least, greatest) in _DECIMALS.items():
        if (value := request.get(field)) is not None:
            if not _is_int(value) and not isinstance(value, float):
                _wrong_type(field, "a decimal", value)
            _check_bounds(field, value, least, greatest, "decimal")
    for field, bounds in _INTEGERS.items():
        if (value := request.get(field)) is not None:
            if not _is_int(value):
                _wrong_type(field, "an integer", value)
            _check_bounds(field, value, *bounds, "integer")
    for field in _OBJECTS:
        if (value := request.get(field)) is not None and not isinstance(value, dict):
            _wrong_type(field, "an object", value)
    stop = request.get("stop")
    is_list = isinstance(stop, list) and all(isinstance(item, str) for item in stop)
    if stop is not None and not isinstance(stop, str) and not is_list:
        _wrong_type("stop", "a string or an array of strings", stop)


def _check_bounds(field: str, value: float, least: float | None, greatest: float | None, kind: str) -> None:
    if least is not None and value < least:
        told = f"Invalid '{field}': {kind} below minimum value. Expected a value >= {least}, but got {value} instead."
        refuse(told, field, f"{kind}_below_min_value")
    if greatest is not None and value > greatest:
        told = (
            f"Invalid '{field}': {kind} above maximum value. Expected a value <= {greatest}, but got {value} instead."
        )
        refuse(told, field, f"{kind}_above_max_value")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong_type(field: str, wanted: str, value: Any) -> NoReturn:
    names = {
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a decimal",
        list: "an array",
        dict: "an object",
    }
    told = f"Invalid type for '{field}': expected {wanted}, but got {names.get(type(value), 'null')} instead."
    refuse(told, field, "invalid_type")
