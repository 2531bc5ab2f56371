"""Keeps pages of other sites out: a browser on this machine reaches loopback for whoever wrote the page it shows."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service_kit.errors import Forbidden

# What a browser sends unasked and what changes nothing here. Other sites cannot read the answers: there is no CORS.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# Of http and https. A proxy that ends TLS changes the scheme, so that the two are taken for one place.
_DEFAULT_PORTS = (":80", ":443")

# A service is called by few names; whoever makes up others has each of them looked at.
_REMEMBERED_HOSTS = 256

# A value that a message quotes is cut here.
_QUOTED_CHARS = 80


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """By which names a service may be called. names: told by the operator. is_any: by all."""

    names: frozenset[str]
    is_any: bool

    @classmethod
    def of(cls, listens_on: str, told: str) -> Self:
        """told: names separated by commas, "*" for all. Where empty: on loopback its own names, elsewhere all."""
        names = frozenset(name.strip().lower() for name in told.split(",") if name.strip())
        return cls(names, "*" in names or not (names or is_loopback(listens_on)))

    def take(self, host: str) -> bool:
        """May this name be called? An address always: only a name can be pointed elsewhere by its owner."""
        return self.is_any or host in self.names or is_loopback(host) or _is_address(host)

    def trust(self, host: str) -> bool:
        """May pages of this host call us? Only where the operator said so."""
        return "*" in self.names or host in self.names


# For an app that nobody reaches by a network, such as one under test.
ANY_HOST = AllowedHosts(frozenset(), True)


class BrowserGuard:
    """Refuses requests that a page of another site made: by a foreign Host (DNS rebinding) or from a foreign origin."""

    def __init__(self, app: ASGIApp, allowed: AllowedHosts, refuse: Callable[[Forbidden], ASGIApp]):
        """refuse: renders the refusal in the service's own envelope."""
        self._app = app
        self._allowed = allowed
        self._refuse = refuse
        self._taken: dict[str, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the answer is 403 `forbidden` where another site's page sent it."""
        reason = self._reason(scope) if scope["type"] == "http" else None
        await (self._app if reason is None else self._refuse(Forbidden(reason)))(scope, receive, send)

    def _reason(self, scope: Scope) -> str | None:
        for name, value in scope["headers"]:
            if name != b"host":
                continue
            host = value.decode("latin-1")
            # Programs of HTTP/1.0 send none; browsers always do.
            if host and not self._takes(host):
                return (
                    f"host {host[:_QUOTED_CHARS]!r} is not this service's; use its address, or add it to ALLOWED_HOSTS"
                )
        if scope["method"] in _SAFE_METHODS or not _is_of_a_page(scope):
            return None
        headers = Headers(scope=scope)
        if not self._is_foreign(headers):
            return None
        origin = headers.get("origin", "another site")
        return f"pages of {origin[:_QUOTED_CHARS]} may not call this service; ALLOWED_HOSTS can name their host"

    def _takes(self, host: str) -> bool:
        """The same for the few hosts by which a service is really called, remembered: a name is cut up in 2 us."""
        is_taken = self._taken.get(host)
        if is_taken is None:
            is_taken = self._allowed.take(_name(host))
            if len(self._taken) < _REMEMBERED_HOSTS and len(host) < 256:
                self._taken[host] = is_taken
        return is_taken

    def _is_foreign(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        place = None if origin is None else _place(origin.partition("://")[2])
        if place is not None and self._allowed.trust(_name(place)):
            return False
        site = headers.get("sec-fetch-site")
        if site is not None:
            # It holds behind a proxy that changes Host, too. "none" is the user's own doing.
            return site not in {"same-origin", "none"}
        return place is not None and place != _place(headers.get("host", ""))


def is_loopback(host: str) -> bool:
    """Is this a name or an address of the machine itself? Browsers resolve every .localhost to it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return _is_address(host) and ip_address(host).is_loopback


def _is_of_a_page(scope: Scope) -> bool:
    """Whether a browser tells where the request comes from. Programs do not."""
    return any(name in (b"origin", b"sec-fetch-site") for name, _ in scope["headers"])


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _name(netloc: str) -> str:
    """The host of a `host:port`, lower-cased, without the brackets of an IPv6 address and a final dot."""
    host = netloc.rpartition("]")[0].removeprefix("[") if netloc.startswith("[") else netloc.partition(":")[0]
    return host.lower().removesuffix(".")


def _place(netloc: str) -> str:
    netloc = netloc.lower()
    for port in _DEFAULT_PORTS:
        netloc = netloc.removesuffix(port)
    return netloc
