"""Which folders and git addresses may be indexed: the rules, before anything is touched."""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from service_kit.errors import ValidationFailed

# git@host:owner/repo.git, as git takes it for ssh.
_SCP = re.compile(r"(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9][\w.-]*:(?!/?/)[^\s:][^\s]*")
_REF = re.compile(r"(?!-)(?!.*\.\.)(?!.*@\{)[^\s~^:?*\[\\\x00-\x1f\x7f]{1,250}")
MAX_URL_CHARS = 2_000


def allowed_folder(path: str, roots: Sequence[Path]) -> Path:
    """The folder that `path` leads to, links and ".." resolved.

    ValidationFailed where it does not exist, is no folder, is a bare git repository or lies outside of the roots.
    """
    if "\0" in path or not path.strip():
        raise ValidationFailed(f"source.path: {path!r} is not a path")
    try:
        folder = Path(path).expanduser()
        if not folder.is_absolute():
            raise ValidationFailed(f"source.path: {path!r} is not absolute; give the whole path")
        resolved = folder.resolve()
        is_folder = resolved.is_dir()
        is_bare = all((resolved / name).exists() for name in ("HEAD", "objects", "refs"))
    except (OSError, RuntimeError) as exc:
        raise ValidationFailed(f"source.path: {path!r} cannot be followed ({type(exc).__name__})") from exc
    # First where it may lie: of what is outside we do not tell whether it exists.
    if not any(resolved == root or root in resolved.parents for root in roots):
        allowed = ", ".join(str(root) for root in roots)
        raise ValidationFailed(
            f"source.path: {path!r} lies outside of the folders that may be indexed ({allowed}); set ALLOWED_ROOTS"
        )
    if not is_folder:
        raise ValidationFailed(f"source.path: {path!r} does not exist or is not a folder")
    if is_bare:
        raise ValidationFailed(f"source.path: {path!r} is a bare git repository; give a work tree of it (git worktree)")
    return resolved


def allowed_url(url: str, plain_hosts: Sequence[str]) -> str:
    """The address, fit for git's command line. https and ssh only; http for the host:port pairs in `plain_hosts`.

    ValidationFailed for any other scheme (file, ext, git, …), for a password in it, and for what git would take as an
    option. Messages show no user name or password.
    """
    if len(url) > MAX_URL_CHARS or url.startswith("-") or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValidationFailed(f"source.url: {without_credentials(url)[:80]!r} is not a git address")
    if "://" not in url:
        if _SCP.fullmatch(url) and "::" not in url:
            return url
        raise _bad_scheme(url, url.split(":", 1)[0])
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise ValidationFailed("source.url: it is not a git address") from exc
    if parts.scheme not in ("https", "ssh") and not (parts.scheme == "http" and parts.netloc in plain_hosts):
        raise _bad_scheme(url, parts.scheme)
    if parts.password is not None or (parts.scheme != "ssh" and parts.username is not None):
        raise ValidationFailed(
            f"source.url: {without_credentials(url)!r} holds credentials; use ssh or git's credential helper instead"
        )
    user = parts.username or ""
    if not host or host.startswith("-") or user.startswith("-") or (port is not None and not port):
        raise ValidationFailed(f"source.url: {without_credentials(url)!r} names no host")
    return url


def allowed_ref(ref: str | None) -> str | None:
    """A branch, tag or commit as git names them; ValidationFailed for what git would take as something else."""
    if ref is not None and (not _REF.fullmatch(ref) or ref.endswith((".lock", "/", "."))):
        raise ValidationFailed(f"ref: {ref[:80]!r} is not the name of a branch, tag or commit")
    return ref


def without_credentials(url: str) -> str:
    """The address as it may be shown and logged."""
    try:
        parts = urlsplit(url)
        if "://" in url and "@" in parts.netloc:
            return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]))
    except ValueError:
        return "…"
    return url


def default_name(location: str) -> str:
    """A name for a repository: the last part of its path or address, without the dot that would hide it."""
    last = re.split(r"[/:]", location.rstrip("/"))[-1].removesuffix(".git").lstrip(".")
    return last or "repository"


def _bad_scheme(url: str, scheme: str) -> ValidationFailed:
    shown = without_credentials(url)[:200]
    return ValidationFailed(f"source.url: {shown!r} has the scheme {scheme[:20]!r}; only https and ssh are fetched")
