"""Failures that only the gateway has: a request that OpenAI would refuse, and one that the upstream refused."""

from typing import Any

from llm_service.core.settings import NOT_CONFIGURED
from service_kit.errors import ServiceError, Unavailable

# The word of our table for a status that an upstream gave; any other 4xx is the caller's request.
_WORDS = {404: "not_found", 409: "conflict", 413: "too_large", 429: "overloaded"}


class ClientLeft(Exception):
    """The caller stopped reading. Nobody is there to be answered."""


class SlowRequest(ServiceError):
    """The caller took too long to send its request. OpenAI's clients send it again on a 408."""

    code, status = "timeout", 408


class InvalidRequest(ServiceError):
    """The request cannot be forwarded. 400 and not 422, because OpenAI's clients tell the two apart."""

    code, status = "validation", 400

    def __init__(self, message: str, *, param: str | None = None, openai_code: str | None = None):
        """param: the field at fault. openai_code: OpenAI's word, where it has one."""
        super().__init__(message, details={"param": param, "code": openai_code})


class Refused(ServiceError):
    """The upstream refused this request with a 4xx that the caller can act on: its status goes through."""

    # Here they differ by instance: whatever 4xx the upstream gave.
    code: str  # type: ignore[misc]
    status: int  # type: ignore[misc]

    def __init__(self, status: int, message: str, *, retry_after_s: int | None = None, **openai: Any):
        """status: 400 to 499. openai: `type`, `param` and `code` of the upstream's envelope, where it gave them."""
        super().__init__(message, retry_after_s=retry_after_s, details=openai, logged=f"refused with {status}")
        self.status = status
        self.code = _WORDS.get(status, "validation")


# Nobody can serve before a person changes a setting; a minute keeps clients from asking again at once.
_NOT_CONFIGURED_RETRY_S = 60


def not_configured() -> Unavailable:
    """What is said while there is no backend: the gateway never poses as a model."""
    return Unavailable(NOT_CONFIGURED, retry_after_s=_NOT_CONFIGURED_RETRY_S, details={"code": "model_not_configured"})
