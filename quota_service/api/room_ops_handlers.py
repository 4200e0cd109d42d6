"""The handlers by which ops steer a waiting room."""

import logging

from quota_service.api.bodies import parse_rate, refuse_members
from quota_service.api.context import ApiContext
from quota_service.api.render import steered_room_json
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.observability.caller import caller
from quota_service.registration.steer_room import SteeredRoom, pause, resume, set_rate

log = logging.getLogger(__name__)


async def put_waiting_room(context: ApiContext, request: Request) -> Response:
    """PUT /v1/exams/{exam}/waiting-room."""
    rate = parse_rate(request.body)
    return _steered(await set_rate(context.stores, request.params["exam"], rate))


async def post_pause(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/waiting-room/pause."""
    refuse_members(request.body)
    return _steered(await pause(context.stores, request.params["exam"]))


async def post_resume(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/waiting-room/resume."""
    refuse_members(request.body)
    return _steered(await resume(context.stores, request.params["exam"]))


def _steered(steered: SteeredRoom) -> Response:
    """Return the answer with a waiting room, and leave a line that tells which key steered."""
    room = steered.room
    log.info(
        "a waiting room was steered",
        extra={
            "exam": room.exam,
            "key": caller().key_id,
            "paused": room.is_paused,
            "fixed_rate": room.fixed_rate,
        },
    )
    return Response.json(steered_room_json(steered))
