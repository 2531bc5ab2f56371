"""`python -m service_kit.probe PORT`: exit code 0 where the service on this port is ready; for health checks.

It says why not on standard output, which `docker inspect` shows. Imports little: it runs every few seconds.
"""

import http.client
import json
import sys

TIMEOUT_S = 4.0


def problem(port: int, allowed: frozenset[str] = frozenset(), timeout_s: float = TIMEOUT_S) -> str | None:
    """What /readyz on loopback complains of, None where it is ready.

    allowed: checks that may fail. A container that its platform restarts, or does not start others before, is no better
    for a language model that nobody has configured.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as exc:
        return f"{type(exc).__name__}: {exc}"
    finally:
        connection.close()
    if answer.status == http.client.OK:
        return None
    try:
        checks = json.loads(body)["checks"]
        failed = [c for c in checks if c["required"] and not c["ok"] and c["name"] not in allowed]
    except (ValueError, LookupError, TypeError):
        return f"/readyz answered {answer.status}"
    return "; ".join(f"{check['name']}: {check['detail']}" for check in failed) or None


def main(arguments: list[str]) -> int:
    """arguments: the port, then the names of checks that may fail."""
    told = problem(int(arguments[0]), frozenset(arguments[1:]))
    print(told or "ready")  # noqa: T201  standard output is where a health check speaks
    return 0 if told is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
