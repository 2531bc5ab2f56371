"""The failures that only vector_db has, beside those of service_kit."""

from service_kit.errors import ValidationFailed


class WrongInput(ValidationFailed):
    """Well-formed, yet not for this collection: a dimension, a vector name, a point id. Qdrant answers 400 to these."""

    code, status = "validation", 400


class NotSupported(ValidationFailed):
    """A part of Qdrant that vector_db does not have. The message names it; the way on is the real server."""

    def __init__(self, what: str):
        """what: the unsupported thing, in the caller's own terms."""
        super().__init__(
            f"{what} is not supported by vector_db; a Qdrant server has it: set QDRANT_HOST and QDRANT_PORT to one"
        )
