"""The handlers by which ops steer a waiting room."""

import logging
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from quota_service.api import render
from quota_service.api.bodies import Members, parse_object, parse_rate, read_body
from quota_service.api.context import CONTEXT
from quota_service.api.ops_handlers import KEY_ID
from quota_service.api.render_steered import steered_room_json
from quota_service.registration.steer_room import SteeredRoom, pause, resume, set_rate

log = logging.getLogger(__name__)


async def put_waiting_room(request: web.Request) -> web.Response:
    """PUT /v1/exams/{exam}/waiting-room."""
    context = request.app[CONTEXT]
    rate = parse_rate(await read_body(request, context.settings.body_max_bytes))
    return await _steered(request, set_rate(context.stores, request.match_info["exam"], rate))


async def post_pause(request: web.Request) -> web.Response:
    """POST /v1/exams/{exam}/waiting-room/pause."""
    await refuse_members(request)
    stores = request.app[CONTEXT].stores
    return await _steered(request, pause(stores, request.match_info["exam"]))


async def post_resume(request: web.Request) -> web.Response:
    """POST /v1/exams/{exam}/waiting-room/resume."""
    await refuse_members(request)
    stores = request.app[CONTEXT].stores
    return await _steered(request, resume(stores, request.match_info["exam"]))


async def _steered(
    request: web.Request, protocol: Coroutine[Any, Any, SteeredRoom]
) -> web.Response:
    """Run a protocol, and leave a line that tells which key steered."""
    steered = await request.app[CONTEXT].under_way.run(protocol)
    room = steered.room
    log.info(
        "a waiting room was steered",
        extra={
            "exam": room.exam,
            "key": request[KEY_ID],
            "paused": room.is_paused,
            "fixed_rate": room.fixed_rate,
        },
    )
    return render.json_response(steered_room_json(steered))


async def refuse_members(request: web.Request) -> None:
    """Refuse a body that says anything: these calls have nothing to be told."""
    body = await read_body(request, request.app[CONTEXT].settings.body_max_bytes)
    if body.strip():
        Members(parse_object(body)).finish()
