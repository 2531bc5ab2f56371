"""One word for one failure: the error tree whose `code` is the metric label, the log field and the word on the wire."""

from collections.abc import Mapping
from typing import Any, ClassVar


class ServiceError(Exception):
    """A failure that a caller or an operator can act on. Its text is shown to callers, so it holds no secret."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: int | None = None,
        details: Mapping[str, Any] | None = None,
        logged: str | None = None,
    ):
        """message names the value, the limit and the next step; retry_after_s becomes the Retry-After header.

        logged: what others than this caller may see, where message quotes a stranger who may quote the request.
        """
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.details = dict(details or {})
        self.logged = message if logged is None else logged


class ValidationFailed(ServiceError):
    """The request breaks the schema or a stated limit. The caller acts."""

    code, status = "validation", 422


class NothingToDo(ServiceError):
    """The request asks for nothing. The caller acts."""

    code, status = "empty", 400


class Unauthorized(ServiceError):
    """No key, or a wrong one. The caller acts."""

    code, status = "unauthorized", 401


class Forbidden(ServiceError):
    """The key is known, the act is not in its role. The caller acts."""

    code, status = "forbidden", 403


class NotFound(ServiceError):
    """Unknown repository, model, job, collection or route. The caller acts."""

    code, status = "not_found", 404


class MethodNotAllowed(ServiceError):
    """The route exists, the method does not. The caller acts."""

    code, status = "validation", 405


class Conflict(ServiceError):
    """It is being indexed, or the name is taken. The caller acts."""

    code, status = "conflict", 409


class TooLarge(ServiceError):
    """The body is over the stated limit. The caller acts."""

    code, status = "too_large", 413


class Overloaded(ServiceError):
    """Refused at the door. The caller waits."""

    code, status = "overloaded", 429


class Upstream(ServiceError):
    """A service that we call answered wrongly. The operator acts."""

    code, status = "upstream", 502


class Unavailable(ServiceError):
    """Not ready, or a dependency is down. The operator acts."""

    code, status = "unavailable", 503


class DeadlineExceeded(ServiceError):
    """A stated deadline passed. The operator acts."""

    code, status = "timeout", 504
