"""The part of OpenAI's chat request that the gateway reads. Everything else is the upstream's business."""

from dataclasses import dataclass
from typing import Any

import orjson

from llm_service.core.errors import InvalidRequest

# What /docs shows. The model behind the gateway decides which further fields there are.
CHAT_REQUEST_DOC: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["messages"],
                    "additionalProperties": True,
                    "properties": {
                        "model": {"type": "string", "description": "Empty: the default model."},
                        "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
                        "stream": {"type": "boolean", "default": False},
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """raw: the body as it came. fields: the same, decoded. model: None where the caller leaves the choice to us."""

    raw: bytes
    fields: dict[str, Any]
    model: str | None
    is_stream: bool

    def encoded_for(self, model: str) -> bytes:
        """The body to forward: the caller's own bytes unless the model's name changes."""
        return self.raw if model == self.fields.get("model") else orjson.dumps({**self.fields, "model": model})


def parse_chat_request(raw: bytes) -> ChatRequest:
    """Read a body. Fails with InvalidRequest where it is not a chat request, in OpenAI's words."""
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(f"the body is not valid JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise InvalidRequest("the body must be a JSON object with `messages`")
    if "messages" not in fields:
        raise _wrong("messages", "Missing required parameter: 'messages'.", "missing_required_parameter")
    messages, model, is_stream = fields["messages"], fields.get("model"), fields.get("stream")
    if not isinstance(messages, list):
        raise _wrong("messages", "'messages' must be a list of messages.", "invalid_type")
    if not messages:
        raise _wrong("messages", "'messages' is empty; it needs at least one message.", "empty_array")
    if not isinstance(model, str | None):
        raise _wrong("model", "'model' must be a string.", "invalid_type")
    if not isinstance(is_stream, bool | None):
        raise _wrong("stream", "'stream' must be true or false.", "invalid_type")
    return ChatRequest(raw, fields, model or None, bool(is_stream))


def _wrong(param: str, message: str, openai_code: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, openai_code=openai_code)
