"""From the markers of an answer to citations that can be opened and checked. Pure."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from rag_app.core.models import Citation, Span
from rag_app.features.generation.passages import Passage

# The two hosts whose address of a file's lines is known and public.
_WEB = re.compile(r"(?:https://|ssh://git@|git@)(github\.com|gitlab\.com)[/:](.+?)(?:\.git)?/?")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def cite(used: Iterable[int], passages: Iterable[Passage], sources: Mapping[str, str]) -> list[Citation]:
    """Citations of the passages of these indexes, in their order.

    sources: repository id -> where it was fetched from, for the link; one that is missing gives none.
    """
    by_index = {passage.index: passage for passage in passages}
    return [_citation(by_index[index], sources) for index in used]


def _citation(passage: Passage, sources: Mapping[str, str]) -> Citation:
    return Citation(
        index=passage.index,
        repository=passage.repository,
        commit=passage.commit,
        span=passage.span,
        sha256=sha256(passage.text),
        url=web_url(sources.get(passage.repository, ""), passage.commit, passage.span),
    )


def sha256(text: str) -> str:
    """The hash of quoted text, hex, over its UTF-8; what GET /v1/source says of the same lines."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def web_url(source: str, commit: str, span: Span) -> str | None:
    """Where a browser shows these lines, for repositories on GitHub and GitLab; else None."""
    found = _WEB.fullmatch(source)
    if found is None or not _COMMIT.fullmatch(commit):
        return None
    host, project = found.groups()
    blob, end = ("blob", f"-L{span.end_line}") if host == "github.com" else ("-/blob", f"-{span.end_line}")
    return f"https://{host}/{project}/{blob}/{commit}/{quote(span.path)}#L{span.start_line}{end}"
