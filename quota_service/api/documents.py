"""The API's own documents: the OpenAPI description, the page to try it, what each problem means."""

from importlib import resources

import openapi_ui_bundles.swagger_ui
import orjson
from aiohttp import web

from quota_service.api.problems import PROBLEMS, problem_response

OPENAPI: web.AppKey[bytes] = web.AppKey("openapi", bytes)

_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}
"""What the page needs of the bundle; nothing is fetched from anywhere else."""

_PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'"
)


async def get_openapi(request: web.Request) -> web.Response:
    """GET /openapi.json."""
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


async def get_docs(_request: web.Request) -> web.Response:
    """GET /docs."""
    return _page("docs.html", "text/html")


async def get_problem(request: web.Request) -> web.Response:
    """GET /problems/{slug}."""
    problem = PROBLEMS.get(request.match_info["slug"])
    if problem is None:
        return problem_response("not-found", "there is no problem type of this name")
    document = {
        "type": problem.uri,
        "title": problem.title,
        "status": problem.status,
        "meaning": problem.meaning,
    }
    return web.Response(body=orjson.dumps(document), content_type="application/json")


def add_files(app: web.Application) -> None:
    """Register the files the page needs."""
    app.router.add_get("/docs/start.js", _get_start)
    for name in _FILES:
        app.router.add_get(f"/docs/{{name:{name}}}", _get_file)


async def _get_start(_request: web.Request) -> web.Response:
    return _page("docs.js", "text/javascript")


async def _get_file(request: web.Request) -> web.FileResponse:
    name = request.match_info["name"]
    path = openapi_ui_bundles.swagger_ui.static_path / name
    return web.FileResponse(path, headers={"Content-Type": _FILES[name]})


def _page(name: str, content_type: str) -> web.Response:
    text = (resources.files("quota_service") / "web" / name).read_text(encoding="utf-8")
    return web.Response(
        text=text,
        content_type=content_type,
        headers={"Content-Security-Policy": _PAGE_POLICY, "X-Content-Type-Options": "nosniff"},
    )
