"""The command line's one door to the server: sends requests, reads event streams, says failures in one sentence."""

import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from rag_app.cli.server_key import WHERE_IT_IS, key_for
from rag_app.core.settings import RagSettings

# Connecting to a machine that answers takes far less; a server that does not exist should be told at once.
CONNECT_TIMEOUT_S = 5.0

# An answer without a stream takes as long as its model; LLM_TIMEOUT_S is 120 by default, and a repair round doubles it.
READ_TIMEOUT_S = 300.0

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Failure(Exception):
    """Something that the user is told in one sentence, on standard error, with exit code `exit_code`."""

    def __init__(self, message: str, exit_code: int = 2, code: str = ""):
        """message: what failed and the next step. code: the server's word for it, "" where there is none."""
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.code = code


class Server:
    """A running rag_app at `url`. Every method raises Failure with the server's own message."""

    def __init__(self, url: str):
        """Nothing connects before the first call. A proxy of the environment is not asked for this very machine."""
        self.url = url.rstrip("/")
        self.request_id = ""  # of the last call, by which the logs of all services tell of it
        settings = RagSettings()
        try:
            key = key_for(self.url, settings)
        except ValueError as exc:
            raise Failure(str(exc)) from exc
        self._has_key = key is not None
        try:
            self._client = httpx.Client(
                base_url=self.url,
                headers={} if key is None else {"authorization": f"Bearer {key}"},
                timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                trust_env=not is_loopback(self.url),
            )
        except httpx.InvalidURL as exc:
            raise self._unreachable(exc) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: Any = None, params: Mapping[str, Any] | None = None) -> Any:
        """Send one request; returns the decoded JSON, None for an empty answer."""
        try:
            response = self._client.request(method, path, json=body, params=dict(params or {}))
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._unreachable(exc) from exc
        self._note(response)
        if response.status_code >= 400:
            raise self._refused(response)
        return _decode(response.content) if response.content else None

    def ready(self) -> dict[str, Any]:
        """What /readyz says, ready or not."""
        try:
            response = self._client.get("/readyz")
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._unreachable(exc) from exc
        body = _decode(response.content)
        if not isinstance(body, dict) or "checks" not in body:
            raise self._stranger()
        return body

    def events(self, method: str, path: str, body: Any = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events as (name, data), until the server ends the stream."""
        headers = {"accept": "text/event-stream"}
        try:
            with self._client.stream(method, path, json=body, headers=headers) as response:
                self._note(response)
                if response.status_code >= 400:
                    response.read()
                    raise self._refused(response)
                yield from parse_events(response.iter_lines())
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._unreachable(exc) from exc

    def repositories(self) -> list[dict[str, Any]]:
        """Every repository that the server knows."""
        answer = self.call("GET", "/v1/repositories")
        found: list[dict[str, Any]] = answer["repositories"] if isinstance(answer, dict) else answer
        return found

    def repository(self, id_or_name: str) -> dict[str, Any]:
        """The repository with this id or name; fails with the names that exist."""
        known = self.repositories()
        for repository in known:
            if id_or_name in (repository["id"], repository["name"]):
                return repository
        names = ", ".join(sorted(repository["name"] for repository in known)) or "none; run `code-assistant index .`"
        raise Failure(f"no repository is called {id_or_name!r}; indexed are: {names}")

    def _unreachable(self, exc: Exception) -> Failure:
        if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
            return Failure(f"no server at {self.url}; start it with `code-assistant up`")
        if isinstance(exc, httpx.TimeoutException):
            return Failure(f"{self.url} did not answer within {READ_TIMEOUT_S:g} s; see `code-assistant status`")
        if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return Failure(f"{self.url!r} is no address; give --server one like http://127.0.0.1:8000")
        return Failure(f"the connection to {self.url} broke ({type(exc).__name__}); see `code-assistant status`")

    def _refused(self, response: httpx.Response) -> Failure:
        body = _decode(response.content)
        error = body.get("error") if isinstance(body, dict) else None
        # Our other services answer in our words too, of their routes.
        if not isinstance(error, dict) or "message" not in error or str(error["message"]).startswith("no route "):
            return self._stranger()
        if error.get("code") == "unauthorized":
            reason = "refuses the key that is set here" if self._has_key else "asks for a key"
            return Failure(f"{self.url} {reason}; {WHERE_IT_IS}", code="unauthorized")
        return failure_of(error, is_fault=response.status_code >= 500)

    def _note(self, response: httpx.Response) -> None:
        self.request_id = response.headers.get("x-request-id", "")

    def _stranger(self) -> Failure:
        return Failure(f"{self.url} answers, but it is no Code Assistant; set --server or CODE_ASSISTANT_URL")


def failure_of(error: Mapping[str, Any], *, is_fault: bool) -> Failure:
    """The failure that an error envelope tells of. is_fault: of a service and not of the caller, so the logs tell more.

    The services' logs are on the server's machine, which need not be this one.
    """
    message, request = str(error.get("message", "the answer broke off")), str(error.get("request_id") or "")
    hint = f"; for the log: `code-assistant logs --request-id {request}`" if is_fault and request else ""
    return Failure(message + hint, code=str(error.get("code", "")))


def parse_events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Decode server-sent events: (name, JSON data). Comments (keep-alives) and events without data are left out."""
    name = "message"
    data: list[str] = []
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            decoded = _decode("\n".join(data).encode()) if data else None
            if isinstance(decoded, dict):
                yield name, decoded
            elif data:
                yield name, {}
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


def is_loopback(url: str) -> bool:
    """Does this address mean this very machine?"""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host in _LOOPBACK or host.startswith("127.")


def _decode(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None
