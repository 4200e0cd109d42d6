"""The handlers of the waiting room: join, look, claim, finish."""

from collections.abc import Coroutine
from typing import Any

from quota_service.api import render
from quota_service.api.bodies import parse_claim, parse_joining, refuse_bad_candidate
from quota_service.api.context import ApiContext
from quota_service.api.etags import is_known
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.waiting_room import claim, finish, join


def post_waiting_room(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/exams/{exam}/waiting-room."""
    candidate = parse_joining(request.body)

    async def run() -> Response:
        return render.joined(await join(context.stores, request.params["exam"], candidate))

    return run()


def get_waiting_room(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/waiting-room: from memory, the same bytes for everybody."""
    shown = context.stores.rooms.current(request.params["exam"])
    rendered = context.rendered_rooms.document(shown.document)
    if is_known(request.headers.getall("If-None-Match", ()), rendered.etag):
        return rendered.unchanged
    return rendered.whole


def post_claim(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/exams/{exam}/waiting-room/claims."""
    candidate, ticket = parse_claim(request.body)

    async def run() -> Response:
        return render.claimed(
            await claim(context.stores, request.params["exam"], candidate, ticket)
        )

    return run()


async def delete_claim(context: ApiContext, request: Request) -> Response:
    """DELETE /v1/exams/{exam}/waiting-room/claims/{candidate}."""
    exam, candidate = request.params["exam"], request.params["candidate"]
    refuse_bad_candidate(candidate)
    await finish(context.stores, exam, candidate)
    return Response.json(render.finished_json(exam, candidate))
