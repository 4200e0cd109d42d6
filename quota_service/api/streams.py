"""The availability as server-sent events: opens streams, bounds their number, ends them."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from aiohttp import HttpVersion11, web

from quota_service.api.availability import STATE_ID, subjects_asked
from quota_service.api.context import CONTEXT
from quota_service.api.rendered import RenderedAvailability
from quota_service.api.stream_channel import Channel, Group, StreamLimits, Subjects
from quota_service.domain.errors import Overloaded, Unavailable
from quota_service.http.errors import InvalidRequest
from quota_service.http.event_stream import retry_field
from quota_service.observability.logs import REQUEST_ID
from quota_service.observability.metrics import Metrics
from quota_service.registration.availability import AvailabilityCache
from quota_service.settings import Settings

_SPREAD = 0.1
"""By how much lives differ, so that streams opened together do not all end together."""


class LastEventIdMalformed(InvalidRequest):
    """The header is not the id of an event of a stream."""

    slug = "last-event-id-malformed"

    def __init__(self) -> None:
        super().__init__([("Last-Event-ID", "must be the id of an event of this stream")])


class Streams:
    """All streams of this process, bounded in number."""

    def __init__(
        self,
        cache: AvailabilityCache,
        rendered: RenderedAvailability,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._open_channel = partial(
            Channel, cache=cache, rendered=rendered, settings=settings, metrics=metrics
        )
        self._channels: dict[str, Channel] = {}
        self._open = 0
        self._of_address: Counter[str] = Counter()
        self._is_closed = False

    @contextmanager
    def place(self, exam: str, subjects: Subjects, address: str) -> Iterator[tuple[Channel, Group]]:
        """Count one stream to an address in the group of a filter.

        Raises Overloaded when too many are taken, in all or by the address, and Unavailable once
        the streams are closed.
        """
        if self._is_closed:
            raise Unavailable("the service is shutting down")
        if self._open >= self._settings.streams_max:
            raise Overloaded("too many streams are open already")
        if self._of_address[address] >= self._settings.streams_of_address_max:
            raise Overloaded("too many streams are open to this address already")
        channel = self._channels.get(exam)
        if channel is None:
            channel = self._channels[exam] = self._open_channel(exam)
        group = channel.enter(subjects)
        self._open += 1
        self._of_address[address] += 1
        self._metrics.streams.inc()
        try:
            yield channel, group
        finally:
            channel.leave(group)
            self._open -= 1
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]
            self._metrics.streams.dec()

    async def close(self) -> None:
        """End every stream; no further one begins."""
        self._is_closed = True
        for channel in self._channels.values():
            await channel.close()


async def get_availability_stream(request: web.Request) -> web.StreamResponse:
    """GET /v1/exams/{exam}/availability/stream."""
    context = request.app[CONTEXT]
    limits = context.settings.limits_of(StreamLimits)
    exam = context.stores.registry.find(request.match_info["exam"])
    subjects = subjects_asked(request.query, exam)
    if subjects is not None:  # in the exam's order, so that equal filters share their bytes
        subjects = tuple(subject for subject in exam.session_of if subject in subjects)
    last_state_id = last_event_id(request, STATE_ID)
    response = stream_response()
    if request.method == "HEAD":
        await context.availability.current(exam.id)
        await response.prepare(request)
        return response
    with context.streams.place(exam.id, subjects, request.remote or "") as (channel, group):
        # A failure to read the seats is answered before anything is sent.
        await channel.prepare()
        with suppress(ConnectionResetError):
            await response.prepare(request)
            retry_ms = round(limits.retry_ms * random.uniform(0.5, 1.5))  # noqa: S311
            await response.write(retry_field(retry_ms))
            if request.transport is not None:
                is_chunked = request.version >= HttpVersion11
                life_s = limits.life_s * random.uniform(1 - _SPREAD, 1)  # noqa: S311
                with channel.watching(
                    group, request.transport, is_chunked=is_chunked, last_state_id=last_state_id
                ) as watcher:
                    await asyncio.wait((watcher.ended,), timeout=life_s)
    return response


def stream_response() -> web.StreamResponse:
    """Return the response of a stream of events, nothing sent."""
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


def last_event_id(request: web.Request, form: re.Pattern[str]) -> str | None:
    """Return the id of the event seen last, None for none; LastEventIdMalformed."""
    # Clients that have seen no event yet send the header without a value.
    ids = [value for value in request.headers.getall("Last-Event-ID", []) if value.strip()]
    if not ids:
        return None
    if len(ids) > 1 or not form.fullmatch(ids[0]):
        raise LastEventIdMalformed
    return ids[0]
