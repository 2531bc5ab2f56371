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
