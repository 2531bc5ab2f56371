"""Files that hold secrets: told by their names, and keys by their text. Pure.

What is indexed is printed by searches and sent to the model that answers, which may be somebody else's.
"""

import fnmatch
import re
from collections.abc import Sequence

from rag_app.core.languages import TEXT, language_of

_NAMES = (
    *(".env", ".env.*", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.pem", "*.key", "*.p12", "*.pfx", "*.ppk"),
    *("*.jks", "*.keystore", ".netrc", ".pgpass", ".htpasswd", ".git-credentials", ".pypirc"),
)
# These are written to be shared.
_TEMPLATES = (".example", ".sample", ".template", ".dist", ".defaults")

# The armour of a key with a key in it: documents write dots there. `\n` may stand for a line's end, as in the JSON
# of a service account; an encrypted key has headers first.
_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr]){1,20}"
    r"(?:[A-Z][\w-]{0,30}: |[A-Za-z0-9+/]{32})"
)
# In code a key is a string of a test; in prose it is an example.
_MAY_BE_KEYS = frozenset((TEXT, "json", "yaml", "toml", "ini", "xml"))


def is_named_secret(name: str, include: Sequence[str] = ()) -> bool:
    """Whether a file of that name holds secrets, and no pattern of `include` asks for it by that name.

    name: without its folders. include: .gitignore syntax; "certs/dev.pem" asks for dev.pem, "*.pem" for all of them,
    "**" for none.
    """
    lower = name.lower()
    secret = {pattern for pattern in _NAMES if fnmatch.fnmatchcase(lower, pattern)}
    if not secret or lower.endswith(_TEMPLATES):
        return False
    return secret.isdisjoint(_last_parts(include)) and not is_asked_for(name, include)


def is_asked_for(path: str, include: Sequence[str]) -> bool:
    """Whether a pattern of `include` ends in the file's own name."""
    return path.rpartition("/")[2] in _last_parts(include)


def holds_key(path: str, text: str) -> bool:
    """Whether a text is, or has in its settings, a private key. Of code and prose it is not said."""
    if "PRIVATE KEY" not in text or _KEY.search(text) is None:
        return False
    return language_of(path, text.split("\n", 1)[0]) in _MAY_BE_KEYS


def _last_parts(patterns: Sequence[str]) -> frozenset[str]:
    return frozenset(pattern.rpartition("/")[2] for pattern in patterns)
