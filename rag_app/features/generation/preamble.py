"""What opens a file and answers nothing: imports, licence headers. Pure."""

import re

# One line of an import, in the languages that have a word for it; names in brackets or braces may fill lines of their
# own ("    url_for,"), and close on one.
_IMPORT = re.compile(
    r"""\s*(?:import\b|from\s+\S+\s+import\b|if\s+(?:t\.|typing\.)?TYPE_CHECKING:
    |export\s+(?:\*|\{.*\})\s+from\b|['"]use\ strict['"]|(?:var|const|let|,)\s+.+=\s*require\(
    |(?:pub(?:\(\w+\))?\s+)?(?:use|mod|extern\s+crate)\s|\#\s*include\b|using\s+[\w.:]+;|package\s
    |require(?:_relative)?\b)""",
    re.VERBOSE,
)
_LISTED = re.compile(r"\"{3}.*\"{3}|\s*(?:\w+(?:\s+as\s+\w+)?,|['\"][\w./-]+['\"]|[)}\]];?)\s*")
_COMMENT = re.compile(r"\s*(?:#|//|/\*|\*|--|<!--|-->|;)")
_LICENCE = re.compile(r"copyright|licen[cs]e|all rights reserved|spdx", re.IGNORECASE)

# A head may hold a line or two of something else, such as the module's docstring; Flask's globals.py has eleven lines
# of imports and the first three of a message that users ask about in one chunk: .79.
_SHARE = 0.8


def is_preamble(text: str) -> bool:
    """Whether a passage is little else than imports, or a comment that is a licence."""
    lines = [line for line in text.split("\n") if line.strip()]
    has_import = any(_IMPORT.match(line) for line in lines)
    has_licence = any(_LICENCE.search(line) for line in lines)
    opening = [
        line
        for line in lines
        if _IMPORT.match(line)
        or (has_import and _LISTED.fullmatch(line))
        or ((has_licence or has_import) and _COMMENT.match(line))
    ]
    return (has_import or has_licence) and len(opening) >= _SHARE * len(lines)
