"""Events as a stream for ops: server-sent events that resume after the last one that was seen.

While anybody watches, one task reads the events of this process from Postgres, a few times a
second, and keeps the last ones; each stream goes through them at the pace of its reader. One that
is further behind reads pages of its own until it has caught up. So a slow reader misses nothing and
holds up no other, and one that does not read at all is cut off.
"""

import asyncio
import logging
import random
import re
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from quota_service.api.context import CONTEXT, ApiContext
from quota_service.api.models import LIST_MAX
from quota_service.api.streams import last_event_id, stream_response
from quota_service.domain.errors import LedgerUnavailable, NotReady, Overloaded, Unavailable
from quota_service.domain.event import EventKind
from quota_service.http.errors import Forbidden, InvalidRequest, Unauthorized
from quota_service.http.event_stream import retry_field
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.events import Event, EventLedger

if TYPE_CHECKING:
    from multidict import MultiMapping

log = logging.getLogger(__name__)

EVENT_ID = re.compile(r"(evt_)?[0-9]{1,18}", re.ASCII)
"""The id of an event as the stream gives it, or as webhooks do."""
_PARAMETERS = frozenset({"exam", "kinds"})
_OPS = frozenset({Scope.OPS})
_LIFE_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class EventFeedLimits:
    """Bounds of the streams of events of a process."""

    streams_max: int = 100
    interval_s: float = 0.2
    """Pause between two looks for new events."""
    page_max: int = 1000
    """Events read at once."""
    kept_max: int = 5000
    """Events in memory for streams that are a little behind."""
    look_s: float = 1.0
    """How often a quiet stream looks whether its reader and its key are still there."""
    life_s: float = 3600.0
    """A stream is ended after this time at most, to be opened again."""
    retry_ms: int = 1000
    """About when a stream that ended is to be opened again."""
    stall_timeout_s: float = 30.0
    """A stream that is not read for so long is cut off."""


class EventFeed:
    """Every event from now on, read once for all streams of this process."""

    def __init__(self, ledger: EventLedger, limits: EventFeedLimits) -> None:
        self._ledger = ledger
        self._limits = limits
        self._open = 0
        self._kept: deque[Event] = deque(maxlen=limits.kept_max)
        self._last: int | None = None
        self._news = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None
        self.is_closed = False

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count one stream; raises Overloaded where there are too many, Unavailable once closed."""
        if self.is_closed:
            raise Unavailable("the service is shutting down")
        if self._open >= self._limits.streams_max:
            raise Overloaded("too many streams of events are open already")
        self._open += 1
        if self._rounds is None:
            self._rounds = asyncio.get_running_loop().create_task(self._go_round())
        try:
            yield
        finally:
            self._open -= 1
            if not self._open and self._rounds is not None:
                self._rounds.cancel()
                self._rounds = None

    async def since(self, after: int) -> list[Event]:
        """Return a page of events behind a number, or nothing where there are none now."""
        if self._last is not None and after >= self._last:
            return []
        if self._kept and self._kept[0].sequence <= after + 1:
            first = after + 1 - self._kept[0].sequence
            return list(islice(self._kept, first, first + self._limits.page_max))
        return await self._ledger.page(after, self._limits.page_max)

    async def news(self) -> None:
        """Return once there are new events, or after a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.look_s):
                await self._news.wait()

    def close(self) -> None:
        """End every stream; no further one begins."""
        self.is_closed = True
        self._news.set()

    async def _go_round(self) -> None:
        """Read new events repeatedly; a store that is away is asked again."""
        self._kept.clear()
        self._last = None
        is_away = False
        while True:
            try:
                if self._last is None:
                    self._last = (await self._ledger.span()).last
                page = await self._ledger.page(self._last, self._limits.page_max)
                is_away = False
            except LedgerUnavailable as error:
                if not is_away:
                    log.warning("events cannot be read", extra={"cause": str(error)})
                is_away, page = True, []
            if page:
                self._kept.extend(page)
                self._last = page[-1].sequence
                self._news.set()
                self._news = asyncio.Event()
            if len(page) < self._limits.page_max:
                await asyncio.sleep(self._limits.interval_s)


async def get_events(request: web.Request) -> web.StreamResponse:
    """GET /v1/events."""
    context = request.app[CONTEXT]
    limits = context.settings.limits_of(EventFeedLimits)
    exam, kinds = _query(request.query)
    if exam is not None:
        context.stores.registry.check_known(exam)
    seen = last_event_id(request, EVENT_ID)
    response = stream_response()
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    with context.events.place():
        # A failure to read them is answered before anything is sent.
        span = await context.stores.maintenance.events.span()
        after = span.last
        if seen is not None:  # a number that was not given yet is of a store that was set back
            after = min(int(seen.removeprefix("evt_")), span.last)
        with suppress(ConnectionResetError):
            await response.prepare(request)
            first = retry_field(round(limits.retry_ms * random.uniform(0.5, 1.5)))  # noqa: S311
            first += _how_far(after)
            if after + 1 < span.first:
                first += b"event: missed\ndata: %b\n\n" % _missed(after, span.first)
            await response.write(first)
            async for block in _blocks(context, request, after, exam, kinds):
                try:
                    async with asyncio.timeout(limits.stall_timeout_s):
                        await response.write(block)
                except TimeoutError:
                    if request.transport is not None:
                        request.transport.abort()
                    break
    return response


def _how_far(after: int) -> bytes:
    """Return a comment with an id: a stream that breaks before its first event resumes there."""
    return b":\nid: %d\n\n" % after


def _missed(after: int, first: int) -> bytes:
    """Return the word that events behind a number are not kept any more."""
    return orjson.dumps({"after": str(after), "before": str(first)})


async def _blocks(
    context: ApiContext,
    request: web.Request,
    after: int,
    exam: str | None,
    kinds: Collection[EventKind],
) -> AsyncIterator[bytes]:
    """Yield what a stream writes, until its life or its key ends, its reader leaves, or we close.

    A quiet stream says from time to time how far it is, so that it resumes there.
    """
    feed, limits = context.events, context.settings.limits_of(EventFeedLimits)
    now = asyncio.get_running_loop().time
    ends_at = now() + limits.life_s * random.uniform(1 - _LIFE_SPREAD, 1)  # noqa: S311
    told_at = now()
    while not feed.is_closed and now() < ends_at and _may_read(context, request, exam):
        try:
            events = await feed.since(after)
        except LedgerUnavailable:
            events = []
        block = b"".join(
            b"event: %b\nid: %d\ndata: %b\n\n" % (event.kind.encode(), event.sequence, event.body)
            for event in events
            if event.kind in kinds and exam in (None, event.exam)
        )
        if events:
            after = events[-1].sequence
        if not block and now() - told_at >= context.settings.stream_heartbeat_s:
            block = _how_far(after)
        if block:
            told_at = now()
            yield block
        if not events:
            await feed.news()


def _may_read(context: ApiContext, request: web.Request, exam: str | None) -> bool:
    """Return whether the reader is there, and its key still in force."""
    if request.transport is None or request.transport.is_closing():
        return False
    try:
        context.keys.authorize(request.headers.get("Authorization"), _OPS, exam)
    except (Unauthorized, Forbidden, NotReady):
        return False
    return True


def _query(query: "MultiMapping[str]") -> tuple[str | None, Collection[EventKind]]:
    """Return the exam and the kinds that are asked for; InvalidRequest for anything else."""
    wrong = [(name[:64], "is not a parameter of this call") for name in query.keys() - _PARAMETERS]
    asked = [part for value in query.getall("kinds", []) for part in value.split(",")]
    known = frozenset(EventKind)
    wrong += [("kinds", f"{kind[:64]} is no kind of event") for kind in asked if kind not in known]
    if wrong:
        raise InvalidRequest(wrong[:LIST_MAX])
    return query.get("exam"), frozenset(map(EventKind, asked)) or known
