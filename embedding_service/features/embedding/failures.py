"""What may go wrong with a request beside the common failures, and TEI's word for each failure in its metrics."""

import asyncio

from embedding_service.backends.base import BackendFailed
from service_kit.errors import NothingToDo, Overloaded, ServiceError, Unavailable, ValidationFailed


class TooManyInputs(ValidationFailed):
    """More texts than one request may hold. The caller sends less at once."""


class InputRefused(ValidationFailed):
    """A text or its prompt cannot be taken: too long, or not of the model. The caller changes it."""


class TokenizerFailed(ValidationFailed):
    """The model's tokenizer has no tokens for a text. 422 `Tokenizer`, as TEI answers it."""


class EmptyInput(NothingToDo):
    """A text of the request is empty. The caller leaves it out."""


class WrongModel(BackendFailed):
    """The model is of another kind than the route asks for. The operator configures another. 424, in TEI's words."""

    def __init__(self, message: str):
        """message: TEI's."""
        super().__init__(f"Backend error: {message}")


class ClientLeft(ServiceError):
    """Nobody waits for the answer any more. 499, as nginx logs it; only logs and metrics see it."""

    code, status = "client_left", 499


_ERR: tuple[tuple[type[BaseException], str], ...] = (
    (asyncio.CancelledError, "dropped"),
    (ClientLeft, "dropped"),
    (TooManyInputs, "batch_size"),
    (InputRefused, "tokenization"),
    (TokenizerFailed, "tokenization"),
    (EmptyInput, "tokenization"),
    (WrongModel, "model_type"),
    (BackendFailed, "inference"),
    (Overloaded, "overloaded"),
    (Unavailable, "unhealthy"),  # TEI does not listen before its model is there
)


def err_word(error: BaseException) -> str:
    """The label `err` of te_request_failure."""
    return next((word for kind, word in _ERR if isinstance(error, kind)), "validation")
