"""When a failed attempt is worth another, and how long to wait before it. Pure but for the dice."""

import random

from service_kit.errors import ServiceError

# Two more attempts outlast a restart behind a load balancer; more would multiply an outage's load.
MAX_RETRIES = 2
BACKOFF_S = 0.25

# A caller had better hear of a longer wait than sit through it.
MAX_WAIT_S = 20.0

# OpenAI's 429 for an empty account: waiting does not fill it.
_NOT_WORTH_WAITING = "insufficient_quota"


def is_retryable(status: int, failure: ServiceError) -> bool:
    """Whether the same request may do better later: 429 and every 5xx, but not an account without money."""
    return (status == 429 and failure.details.get("code") != _NOT_WORTH_WAITING) or status >= 500


def wait_s(attempt: int, retry_after_s: int | None) -> float:
    """Seconds before attempt number `attempt` + 1: what the server asked for, or 0.25, 0.5 s; plus up to half again.

    The jitter is added and never taken off, since a server that names a time means "not before".
    """
    base = retry_after_s if retry_after_s is not None else BACKOFF_S * 2**attempt
    return base * (1 + random.random() / 2)
