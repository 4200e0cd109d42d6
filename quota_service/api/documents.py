"""The API's own documents: the OpenAPI description, the page to try it, what each problem means."""

from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from pathlib import Path

import openapi_ui_bundles.swagger_ui
from aiohttp import web

from quota_service.api.context import ApiContext
from quota_service.api.problems import PROBLEMS, ProblemMeaning
from quota_service.http.request import Request
from quota_service.http.response import Response

OPENAPI: web.AppKey[bytes] = web.AppKey("openapi", bytes)
PAGE: web.AppKey[str] = web.AppKey("page", str)
"""The page, read once when the service starts."""

_BUNDLE: Mapping[str, str] = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}
"""Files of the bundle that the page needs, and their types; nothing comes from anywhere else."""

_PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_AS_DECLARED = {"X-Content-Type-Options": "nosniff"}


async def get_openapi(request: web.Request) -> web.Response:
    """GET /openapi.json."""
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


async def get_docs(request: web.Request) -> web.Response:
    """GET /docs."""
    headers = {"Content-Security-Policy": _PAGE_POLICY, **_AS_DECLARED}
    return web.Response(text=request.app[PAGE], content_type="text/html", headers=headers)


def get_problem(_context: ApiContext, request: Request) -> Response:
    """GET /problems/{slug}."""
    problem = PROBLEMS.get(request.params["slug"])
    if problem is None:
        return PROBLEMS["not-found"].response("there is no problem type of this name")
    meaning: ProblemMeaning = {
        "type": problem.uri,
        "title": problem.title,
        "status": problem.status,
        "meaning": problem.meaning,
    }
    return Response.json(meaning)


def add_files(app: web.Application) -> None:
    """Read the page and register the files it needs."""
    pages = resources.files("quota_service") / "web"
    app[PAGE] = (pages / "docs.html").read_text(encoding="utf-8")
    script = (pages / "docs.js").read_text(encoding="utf-8")

    async def get_script(_request: web.Request) -> web.Response:
        return web.Response(text=script, content_type="text/javascript", headers=_AS_DECLARED)

    app.router.add_get("/docs/start.js", get_script)
    for name, content_type in _BUNDLE.items():
        path = openapi_ui_bundles.swagger_ui.static_path / name
        app.router.add_get(f"/docs/{name}", _sender(path, content_type))


def _sender(path: Path, content_type: str) -> Callable[[web.Request], Awaitable[web.FileResponse]]:
    """Return the handler of one file, which aiohttp reads outside the event loop."""
    headers = {"Content-Type": content_type, "Cache-Control": "max-age=3600", **_AS_DECLARED}

    async def get_file(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(path, headers=headers)

    return get_file
