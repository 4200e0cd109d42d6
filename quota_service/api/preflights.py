"""Answers the preflights of browsers for every address of the table of routes."""

from collections.abc import Iterable
from functools import partial

from quota_service.api.context import ApiContext
from quota_service.api.routes import ANYONE, Route
from quota_service.http.priority import Priority
from quota_service.http.request import Request
from quota_service.http.response import Response


def preflight_routes(routes: Iterable[Route]) -> list[Route]:
    """Return a route for the preflight of each address, those of most words first.

    An address can fit several entries: `…/waiting-list/pause` is that of an entry too.
    """
    methods: dict[str, set[str]] = {}
    for route in routes:
        methods.setdefault(route.path, {"OPTIONS"}).add(route.method)
    return [
        Route(
            "OPTIONS",
            path,
            partial(_answer, ", ".join(sorted(methods[path]))),
            ANYONE,
            "What pages of other origins may do here",
            own_priority=Priority.FREE,
        )
        for path in sorted(methods, key=lambda path: path.count("{"))
    ]


def _answer(methods: str, context: ApiContext, request: Request) -> Response:
    """OPTIONS of an address."""
    headers = context.cors.preflight(request.headers.get("Origin"), methods)
    return Response(b"", 204, (("Allow", methods), *headers))
