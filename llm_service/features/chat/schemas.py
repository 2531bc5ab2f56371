"""The part of a request that the gateway reads. Everything else is the backend's business, and reaches it untouched."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from llm_service.core.errors import InvalidRequest
from llm_service.core.settings import LlmSettings
from llm_service.providers.catalog import Target

# 10 MB of small objects take 234 MB decoded, for as long as the request is in work; it is counted by its bytes alone.
# So a larger body than this is decoded again where something in it must change.
_LARGE_BYTES = 100_000
_READ = ("model", "max_tokens")


@dataclass(frozen=True, slots=True)
class Limits:
    """What is cut down. max_tokens, n: the most of each. added_max_tokens: what a request without max_tokens gets."""

    max_tokens: int
    n: int
    added_max_tokens: int | None = None

    @classmethod
    def of(cls, settings: LlmSettings) -> "Limits":
        """The settings' own."""
        return cls(settings.llm_max_tokens, settings.llm_max_n, settings.added_max_tokens)


@dataclass(frozen=True, slots=True)
class Route:
    """A route that is forwarded. required: the field that it cannot do without. generates: it writes tokens."""

    path: str
    summary: str
    required: str | None = None
    generates: bool = False


CHAT = Route("/v1/chat/completions", "Answer a conversation, whole or as server-sent events", "messages", True)
COMPLETIONS = Route("/v1/completions", "Continue a text, whole or as server-sent events", "prompt", True)
EMBEDDINGS = Route("/v1/embeddings", "Vectors of texts, where a backend serves them", "input")
TOKENIZE = Route("/tokenize", "A text's tokens, where the backend is vLLM")
DETOKENIZE = Route("/detokenize", "The text of tokens, where the backend is vLLM")
ROUTES = (CHAT, COMPLETIONS, EMBEDDINGS, TOKENIZE, DETOKENIZE)


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """raw: the body as it came. fields: the same, decoded; of a large one only what body_for reads.

    model: None where the caller leaves the choice to us.
    cut: fields whose value is over a limit, and what becomes of them. wants_usage: a stream's counts were asked for.
    has_options: its stream_options are there, whatever they say.
    """

    route: Route
    raw: bytes
    fields: dict[str, Any]
    model: str | None
    is_stream: bool
    wants_usage: bool
    has_options: bool = False
    cut: Mapping[str, int] = field(default_factory=dict)

    def body_for(self, target: Target) -> bytes:
        """The body to forward: the caller's own bytes unless a name, a limit or the counts must change."""
        changed: dict[str, Any] = dict(self.cut)
        fields = self.fields
        if len(self.raw) > _LARGE_BYTES and (changed or self.has_options or fields.get("model") != target.model):
            fields = orjson.loads(self.raw)
        if fields.get("model") != target.model:
            changed["model"] = target.model
        if "max_tokens" in self.cut and "max_tokens" not in fields and target.member.backend.is_openai:
            changed["max_completion_tokens"] = changed.pop("max_tokens")  # OpenAI's newer models refuse the old name
        if self.is_stream and not self.wants_usage and target.member.backend.usage_in_streams:
            options = fields.get("stream_options")
            if options is None and not self.has_options and not changed:
                return self._with_usage_asked()
            if options is None or isinstance(options, dict):  # else it is the backend's to refuse
                changed["stream_options"] = {**(options or {}), "include_usage": True}
        return _encoded({**fields, **changed}) if changed else self.raw

    def _with_usage_asked(self) -> bytes:
        """The caller's own bytes and one field more; decoding and encoding again would cost 10 us for 10 kB."""
        return self.raw.rstrip()[:-1] + b',"stream_options":{"include_usage":true}}'


def _encoded(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields)
    except TypeError as exc:  # of what orjson reads itself: it reads 1,024 levels and writes 254
        raise InvalidRequest("the body is nested over 254 levels deep, and cannot be forwarded") from exc


def parse_request(route: Route, raw: bytes, limits: Limits) -> ModelRequest:
    """Read a body. Fails with InvalidRequest, in OpenAI's words, where it is no request for this route."""
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(f"the body is not valid JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise InvalidRequest("the body must be a JSON object" + (f" with `{route.required}`" if route.required else ""))
    if route.required is not None and route.required not in fields:
        raise _wrong(route.required, f"Missing required parameter: '{route.required}'.", "missing_required_parameter")
    if route is CHAT:
        _check_messages(fields["messages"])
    model, is_stream = fields.get("model"), fields.get("stream")
    if not isinstance(model, str | None):
        raise _wrong("model", "'model' must be a string.", "invalid_type")
    if not isinstance(is_stream, bool | None):
        raise _wrong("stream", "'stream' must be true or false.", "invalid_type")
    is_stream = bool(is_stream) and route.generates
    options = fields.get("stream_options") if is_stream else None
    wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    cut = _cut(fields, limits) if route.generates else {}
    has_options = "stream_options" in fields
    if len(raw) > _LARGE_BYTES:
        fields = {name: fields[name] for name in _READ if name in fields}
    return ModelRequest(route, raw, fields, model or None, is_stream, wants_usage, has_options, cut)


_TOKEN_LIMITS = frozenset({"max_tokens", "max_completion_tokens", "n_predict"})


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list):
        raise _wrong("messages", "'messages' must be a list of messages.", "invalid_type")
    if not messages:
        raise _wrong("messages", "'messages' is empty; it needs at least one message.", "empty_array")


def _cut(fields: Mapping[str, Any], limits: Limits) -> dict[str, int]:
    """Fields over a limit, cut down to it. best_of is vLLM's and OpenAI's older word for how many are made.

    n_predict is llama.cpp's own word for max_tokens, which it prefers; to it and to LM Studio -1 means no limit.
    """
    cut = {}
    for name, limit in (
        ("max_tokens", limits.max_tokens),
        ("max_completion_tokens", limits.max_tokens),
        ("n_predict", limits.max_tokens),
        ("n", limits.n),
        ("best_of", limits.n),
    ):
        value = fields.get(name)
        if value is not None and (_amount(value) > limit or (name in _TOKEN_LIMITS and _amount(value) < 0)):
            cut[name] = limit
    if limits.added_max_tokens is not None and _has_no_limit(fields):
        cut["max_tokens"] = limits.added_max_tokens
    return cut


def _has_no_limit(fields: Mapping[str, Any]) -> bool:
    # 0 is a limit: so a prompt is scored and nothing written. n_predict is none to other servers than llama.cpp.
    return fields.get("max_tokens") is None and fields.get("max_completion_tokens") is None


def _amount(value: Any) -> float:
    """The number that a backend may read: vLLM takes "100", too, as pydantic does. What is none is over no limit."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
    except OverflowError:
        return math.inf


def _wrong(param: str, message: str, openai_code: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, openai_code=openai_code)
