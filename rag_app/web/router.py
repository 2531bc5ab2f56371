"""The page at `/`: three static files, and highlighting for the code that they show. No build step, nobody's CDN."""

from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import FileResponse

from rag_app.web.highlight import highlight
from service_kit.errors import NotFound

_STATIC = Path(__file__).parent / "static"
_MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

# The page shows code that strangers wrote: nothing but our own files may run, load or frame it.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    # Asked for again each time, answered 304 by its ETag: a new version shows at once.
    "cache-control": "no-cache",
}


class Snippet(BaseModel):
    """Code to highlight."""

    content: str
    language: str = ""
    path: str = ""


class HighlightRequest(BaseModel):
    """All snippets of one page, in one request."""

    snippets: list[Snippet] = Field(max_length=200)


class HighlightResponse(BaseModel):
    """For each snippet its lines, for each line its tokens: [kind, text]."""

    snippets: list[list[list[tuple[str, str]]]]


def web_router() -> APIRouter:
    """`/`, `/static/…` and `/web/highlight`. Needs nothing but its files."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> FileResponse:
        return _file("index.html")

    @router.get("/static/{name}")
    async def static(name: str) -> FileResponse:
        return _file(name)

    @router.post("/web/highlight")
    def tokens(request: HighlightRequest) -> HighlightResponse:  # not async: lexing takes CPU, so it runs in a thread
        lines = [highlight(snippet.content, snippet.language, snippet.path) for snippet in request.snippets]
        return HighlightResponse(snippets=lines)

    return router


def _file(name: str) -> FileResponse:
    path = _STATIC / name
    # `name` has no "/" (the route's pattern), and what is not among the files is not found: no path leaves the folder.
    if path.suffix not in _MEDIA_TYPES or path not in _STATIC.iterdir():
        raise NotFound(f"no file /static/{name}")
    return FileResponse(path, media_type=_MEDIA_TYPES[path.suffix], headers=_HEADERS)
