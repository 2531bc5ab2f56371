"""Bearer keys of our own: who may call. The file holds hashes only, and no key leaves this module in words.

A key has 256 random bits, so one SHA-256 keeps it: nobody can try them through. A slow hash is for passwords, which
people choose, and would cost every request what it costs an attacker.
"""

import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any, Self

from llm_service.core.watched import Watched
from service_kit.errors import Unauthorized

# It tells people and secret scanners what the text is.
KEY_PREFIX = "ca-"

_FIELDS = frozenset({"name", "sha256", "requests_per_minute", "tokens_per_minute"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
# 32 bytes in base64 without padding.
_A_KEY = re.compile(KEY_PREFIX + r"[A-Za-z0-9_-]{43}")
_TABLE = re.compile(r"\s*\[\[\s*key\s*\]\]")

# Keys of other makers have up to 200 characters. A header may have 64 KB, which would take 0.1 ms to hash.
_MAX_HEADER_BYTES = 512

# So many bytes of a digest find its key. What the look-up's time tells is whether a digest begins like a known one: to
# learn that of one byte more, a caller needs 256 times the keys to try, and what he learns is of the digest, from
# which no key follows. The whole digest is then compared in constant time.
_FOUND_BY = 8


@dataclass(frozen=True, slots=True)
class Key:
    """One caller. digest: SHA-256 of the key, 32 bytes. Limits are a minute's; None: no limit."""

    name: str
    digest: bytes = field(repr=False)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


def new_key() -> str:
    """A new key: `ca-` and 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    """What is stored of a key: its SHA-256, 32 bytes."""
    return sha256(key.encode()).digest()


def watched_keys(path: Path) -> "Watched[KeyRing]":
    """The keys of a file, read again when it changes. Fails with ValueError in words where it cannot be used."""
    return Watched("LLM_KEYS_FILE", lambda read: KeyRing.parse(read(path), path))


class KeyRing:
    """All keys that open the gateway; none at all opens it to nobody."""

    def __init__(self, keys: Iterable[Key]):
        """keys: of different names and digests. Fails with ValueError where two are alike."""
        self.keys = tuple(keys)
        self._found: dict[bytes, Key] = {}
        names: set[str] = set()
        for number, key in enumerate(self.keys, 1):
            if key.name in names:
                raise ValueError(f"two keys have the name {key.name!r}; the second is number {number}")
            names.add(key.name)
            alike = self._found.setdefault(key.digest[:_FOUND_BY], key)
            if alike is not key:
                raise ValueError(f"{alike.name!r} and {key.name!r} have the same sha256: a key has one name")
        # Compared with where none is found, so that a wrong key takes the same way; nobody knows what hashes to it.
        self._nobody = Key("", secrets.token_bytes(32))

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Self:
        """Keys from TOML, each a `[[key]]` with name, sha256 and maybe requests_per_minute and tokens_per_minute.

        path: for messages. Fails with ValueError, which says where and what, and quotes no value but names: where a
        hash belongs, somebody may have put the key.
        """
        try:
            text = content.decode()
            document = tomllib.loads(text)
        except UnicodeDecodeError as exc:
            raise ValueError(f"{path} is not UTF-8 at byte {exc.start}") from None
        except tomllib.TOMLDecodeError as exc:
            raise ValueError(f"{path} is not TOML: {exc}") from None
        for unknown in sorted(document.keys() - {"key"}):
            raise ValueError(f"{path}: {_quoted(unknown)} is unknown; a key is a table [[key]]")
        tables = document.get("key", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise ValueError(f"{path}: a key is a table [[key]], with two brackets")
        places = _places(text, len(tables))
        keys = [_key(table, f"{path}, {place}") for table, place in zip(tables, places, strict=True)]
        try:
            return cls(keys)
        except ValueError as exc:
            raise ValueError(f"{path}: {exc}") from None

    def find(self, authorization: bytes | None) -> Key:
        """Whose key an Authorization header holds. Takes 0.5 us among 1,000 keys, half of it SHA-256; a wrong one 1.5.

        Fails with Unauthorized, in OpenAI's words, for no header, another scheme and an unknown key.
        """
        if authorization is None or authorization[:7].lower() != b"bearer " or len(authorization) > _MAX_HEADER_BYTES:
            raise _unauthorized("You didn't provide an API key, sent as in: Authorization: Bearer YOUR_KEY.")
        digest = sha256(authorization[7:].strip()).digest()
        key = self._found.get(digest[:_FOUND_BY], self._nobody)
        if not compare_digest(key.digest, digest):
            raise _unauthorized("Incorrect API key provided. Ask whoever runs this gateway for a key of yours.")
        return key

    def __repr__(self) -> str:
        return f"KeyRing({len(self.keys)} keys)"


def _unauthorized(message: str) -> Unauthorized:
    return Unauthorized(message, details={"type": "invalid_request_error", "code": "invalid_api_key"})


def _key(table: Mapping[str, Any], place: str) -> Key:
    for unknown in sorted(table.keys() - _FIELDS):
        raise ValueError(f"{place}: {_quoted(unknown)} is unknown; a key has {', '.join(sorted(_FIELDS))}")
    name, digest = table.get("name"), table.get("sha256")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{place}: `name` must be 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit")
    if _A_KEY.fullmatch(name):
        raise ValueError(f"{place}: `name` looks like a key; names are shown")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise ValueError(f"{place}: `sha256` of {name!r} must be 64 hexadecimal digits: the key's hash, not the key")
    requests, tokens = _limit(table, "requests_per_minute", place), _limit(table, "tokens_per_minute", place)
    return Key(name, bytes.fromhex(digest), requests, tokens)


def _limit(table: Mapping[str, Any], name: str, place: str) -> int | None:
    value: int | None = table.get(name)
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"{place}: `{name}` must be a whole number from 1 on; leave it out for no limit")
    return value


def _quoted(name: str) -> str:
    return f"`{name}`" if len(name) <= 32 else "a field with a long name"


def _places(text: str, count: int) -> list[str]:
    """Where each table stands. Lines are left out where they cannot be told by looking at them: tomllib has none."""
    lines = [number for number, line in enumerate(text.splitlines(), 1) if _TABLE.match(line)]
    if len(lines) != count:
        return [f"key {number}" for number in range(1, count + 1)]
    return [f"key {number} (line {line})" for number, line in enumerate(lines, 1)]
