"""/docs without a CDN: Swagger UI out of an installed package, for machines that reach no other."""

from importlib.resources import as_file, files

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, HTMLResponse

from service_kit.errors import NotFound

# The package is used for its files only: Swagger UI as its makers publish it, of a version that reads OpenAPI 3.1.
_PACKAGE = "fastapi_swagger.resources"
_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}

# FastAPI's page starts Swagger UI by a script of its own inside the page; nothing may be loaded from elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def docs_router(title: str) -> APIRouter:
    """`/docs` and its files. Their addresses are relative, so that a proxy may serve them below a path of its own."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="openapi.json",
            title=title,
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url="docs/favicon-32x32.png",
            swagger_ui_parameters={"validatorUrl": None},  # by default a badge of validator.swagger.io's
        )
        page.headers["content-security-policy"] = _POLICY
        return page

    @router.get("/docs/{name}")
    async def docs_file(name: str) -> FileResponse:
        if name not in _MEDIA_TYPES:
            raise NotFound(f"the documentation has no file {name!r}; see /docs")
        with as_file(files(_PACKAGE) / name) as path:
            return FileResponse(path, media_type=_MEDIA_TYPES[name])

    return router
