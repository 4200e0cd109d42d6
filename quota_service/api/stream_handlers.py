"""The availability as server-sent events: opens a stream and waits for its end."""

import asyncio
import random
from contextlib import suppress

from aiohttp import HttpVersion11, web

from quota_service.api.answers import STATE_ID
from quota_service.api.context import CONTEXT
from quota_service.api.errors import LastEventIdMalformed
from quota_service.api.handlers import subjects_asked
from quota_service.api.stream_messages import retry_field
from quota_service.api.streams import Place
from quota_service.domain.exam import Exam
from quota_service.observability.logs import REQUEST_ID
from quota_service.settings import Settings

_SPREAD = 0.1
"""By how much lives differ, so that streams opened together do not all end together."""


async def get_availability_stream(request: web.Request) -> web.StreamResponse:
    """GET /v1/exams/{exam}/availability/stream."""
    context = request.app[CONTEXT]
    exam = context.stores.registry.find(request.match_info["exam"])
    subjects = _filter(subjects_asked(request.query, exam), exam)
    last_state_id = _last_event_id(request)
    response = _response()
    if request.method == "HEAD":
        await context.availability.current(exam.id)
        await response.prepare(request)
        return response
    with context.streams.place(exam.id, subjects, request.remote or "") as place:
        # Seats that cannot be read are told before anything is sent.
        await place.prepare()
        with suppress(ConnectionResetError):
            await _stream(request, response, place, last_state_id, context.settings)
    return response


async def _stream(
    request: web.Request,
    response: web.StreamResponse,
    place: Place,
    last_state_id: str | None,
    settings: Settings,
) -> None:
    await response.prepare(request)
    retry_ms = round(settings.stream_retry_ms * random.uniform(0.5, 1.5))  # noqa: S311
    await response.write(retry_field(retry_ms))
    if request.transport is None:
        return
    is_chunked = request.version >= HttpVersion11
    watcher = place.watch(request.transport, is_chunked=is_chunked, last_state_id=last_state_id)
    life_s = settings.stream_life_s * random.uniform(1 - _SPREAD, 1)  # noqa: S311
    await asyncio.wait((watcher.ended,), timeout=life_s)


def _response() -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
            "X-Request-ID": REQUEST_ID.get(),
        }
    )
    # The connection ends with the stream: the next stream may go to another process.
    response.force_close()
    return response


def _filter(subjects: tuple[str, ...] | None, exam: Exam) -> tuple[str, ...] | None:
    """Return the subjects in the exam's order: who wants the same is told the same bytes."""
    if subjects is None or len(subjects) == len(exam.session_of):
        return None
    return tuple(subject for subject in exam.session_of if subject in subjects)


def _last_event_id(request: web.Request) -> str | None:
    # Clients that have seen no event yet send the header without a value.
    told = [value for value in request.headers.getall("Last-Event-ID", []) if value.strip()]
    if not told:
        return None
    if len(told) > 1 or not STATE_ID.fullmatch(told[0]):
        raise LastEventIdMalformed
    return told[0]
