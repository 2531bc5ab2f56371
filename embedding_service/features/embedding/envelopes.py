"""Failures in the words of the product whose route was called: TEI's, its OpenAI-compatible one's, or our own."""

from typing import Any

from embedding_service.features.embedding.failures import TokenizerFailed
from service_kit.errors import ServiceError
from service_kit.failures import default_envelope

TEI_PATHS = frozenset(
    {
        *("/", "/embed", "/embed_all", "/embed_sparse", "/similarity", "/predict", "/rerank", "/tokenize", "/decode"),
        *("/info", "/health", "/ping", "/invocations", "/vertex"),
    }
)
OPENAI_PATHS = frozenset({"/v1/embeddings", "/embeddings"})

# TEI knows six kinds of failure; the words of our table that it lacks go to the nearest.
_TEI_TYPES = {
    "validation": "Validation",
    "too_large": "Validation",
    "forbidden": "Validation",
    "unauthorized": "Validation",
    "empty": "Empty",
    "overloaded": "Overloaded",
    "unavailable": "Unhealthy",
}


def tei_envelope(path: str, error: ServiceError) -> Any:
    """The body for a failure at `path`."""
    kind = "Tokenizer" if isinstance(error, TokenizerFailed) else _TEI_TYPES.get(error.code, "Backend")
    if path in TEI_PATHS:
        return {"error": error.message, "error_type": kind}
    if path in OPENAI_PATHS:
        return {"message": error.message, "code": error.status, "type": kind}
    return default_envelope(path, error)


def _responses(properties: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    meanings = {
        400: "Empty: no input, or an empty one",
        401: "no key, or a wrong one, where EMBEDDING_API_KEY is set",
        403: "a page of another site sent it",
        413: "the body is over PAYLOAD_LIMIT",
        422: "the request breaks the schema or a limit",
        424: "inference failed, or the model is not for this route",
        429: "overloaded; come again after Retry-After seconds",
        503: "there is no model yet, or none now; come again after Retry-After seconds",
    }
    content = {"application/json": {"schema": schema}}
    return {status: {"description": meaning, "content": content} for status, meaning in meanings.items()}


_KIND = {"enum": ["Validation", "Empty", "Tokenizer", "Backend", "Overloaded", "Unhealthy"]}
_TEXT = {"type": "string"}

# What /docs says of failures, by the product whose route it is.
TEI_FAILURES = _responses({"error": _TEXT, "error_type": _KIND})
OPENAI_FAILURES = _responses({"message": _TEXT, "code": {"type": "integer"}, "type": _KIND})
