"""The key that a service asks its callers for: compared in constant time, before a byte of the body is read."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from service_kit.errors import Unauthorized
from service_kit.secrets import MAX_SECRET_BYTES, checked_secret

# The close code of a websocket whose caller may not have one.
_POLICY_VIOLATION = 1008


@dataclass(frozen=True, slots=True)
class Guarded:
    """What is asked for, and where not.

    key: sent as `Authorization: Bearer <key>`. setting: the variable that holds it. open_paths: asked for nothing, and
    so is what lies below open_folders. header: one more header that may hold the key alone, lower-cased. missing,
    wrong: what a caller is told without a key, and with another one.
    """

    key: SecretStr
    setting: str
    open_paths: frozenset[str]
    missing: str
    wrong: str
    open_folders: tuple[str, ...] = ()
    header: bytes | None = None

    def __post_init__(self) -> None:
        """Fails with ValueError where the key is empty, or one that no header can hold."""
        if not checked_secret(self.key.get_secret_value(), self.setting).get_secret_value():
            raise ValueError(f"{self.setting} is empty")

    def is_open(self, path: str) -> bool:
        """Is this path for everybody?"""
        return path in self.open_paths or path.startswith(self.open_folders)


class KeyGuard:
    """Refuses, with 401 `unauthorized`, requests that do not show the key. What is not known to be open is guarded."""

    def __init__(self, app: ASGIApp, guarded: Guarded, refuse: Callable[[Unauthorized], ASGIApp]):
        """refuse: renders the refusal in the service's own envelope."""
        self._app = app
        self._guarded = guarded
        self._refuse = refuse
        # Digests have one length, so that comparing them tells nothing of the key's.
        self._digest = sha256(guarded.key.get_secret_value().encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or websocket; the process's own start and end pass."""
        if scope["type"] not in ("http", "websocket") or self._guarded.is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        shown = self._shown(scope)
        if shown is not None and compare_digest(sha256(shown).digest(), self._digest):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            reason = self._guarded.missing if shown is None else self._guarded.wrong
            await self._refuse(Unauthorized(reason))(scope, receive, send)

    def _shown(self, scope: Scope) -> bytes | None:
        """What the request shows for a key: the header of this service's own before the one of all."""
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # of several the first
        shown = b"" if self._guarded.header is None else headers.get(self._guarded.header, b"")
        given = headers.get(b"authorization", b"")
        if not shown and given[:7].lower() == b"bearer ":
            shown = given[7:].strip()
        # One byte more than a secret may have is no secret, and a header of 64 KB would take 0.1 ms to hash.
        return shown[: MAX_SECRET_BYTES + 1] or None
