"""What a collection or an alias may be called: Qdrant's own rule."""

from service_kit.errors import ValidationFailed

MAX_NAME_CHARS = 255

# Qdrant's list. Folders here are not named after collections, so this is for compatibility, not for safety alone.
_FORBIDDEN = frozenset('<>:"/\\|?*\0\x1f')


def check_name(name: str) -> str:
    """The name itself where Qdrant would take it; fails with ValidationFailed where not."""
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        raise ValidationFailed(f"a collection name has 1 to {MAX_NAME_CHARS} characters, not {len(name)}")
    bad = sorted(_FORBIDDEN.intersection(name))
    if bad or name in {".", ".."}:
        raise ValidationFailed(f"collection name {name!r} cannot contain {', '.join(map(repr, bad)) or 'only dots'}")
    return name
