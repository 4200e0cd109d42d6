"""Those who watch the availability of one exam: one look at its seats for all of them.

While anybody watches, a task looks at the cache once an interval and, when something changed,
renders the change once for each filter and writes the same bytes to every connection, a few
connections a turn of the event loop. Nothing is done for a watcher while nothing changes but a
heartbeat, and nothing at all for an exam without watchers.

When the seats cannot be read the watchers get `stale` and the heartbeats go on; the first
read that succeeds is sent as a snapshot. So old data is never presented as current, and
a store that is away does not send thousands of watchers through the door at once.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson

from quota_service.api.availability import change_json, stale_json
from quota_service.api.rendered import RenderedAvailability
from quota_service.domain.errors import QuotaError
from quota_service.http.event_stream import Message, Watcher, event, heartbeat
from quota_service.observability.metrics import Metrics
from quota_service.registration.availability import Availability, AvailabilityCache
from quota_service.registration.availability_changes import AvailabilityChange, RecentChanges
from quota_service.settings import Settings

log = logging.getLogger(__name__)

_KEPT_MAX_BYTES = 262_144
"""A snapshot with a filter is kept for those who come next while it is no larger."""

Subjects = tuple[str, ...] | None
"""A filter: the subjects asked for, in the exam's order, or None for all."""


@dataclass(slots=True, eq=False)
class Group:
    """Those who watch an exam with the same filter, and what they share."""

    subjects: Subjects
    places: int = 0
    told_at: float = 0.0
    watchers: set[Watcher] = field(default_factory=set)
    snapshot: Message | None = None
    resumed: dict[str, Message | None] = field(default_factory=dict)

    def forget(self) -> None:
        """Drop what was rendered: there is something newer."""
        self.snapshot = None
        self.resumed.clear()


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds of the streams of an exam."""

    filters_max: int = 256
    """Different `?subjects=`; further ones get all subjects."""
    life_s: float = 3600.0
    """A stream is ended after this time at most, to be opened again."""
    retry_ms: int = 3000
    """About when a stream that ended is to be opened again."""
    changes_max: int = 300
    """Changes of an exam that are kept for streams that resume."""
    buffer_max_bytes: int = 65_536
    """What may wait for the reader of a stream before it misses changes."""
    stall_timeout_s: float = 30.0
    """A stream whose full buffer is not read in this time is cut off."""
    writes_per_turn_max: int = 200
    """Streams written to before other requests get their turn."""


class Channel:
    """The watchers of one exam, and the state sent to them last."""

    def __init__(
        self,
        exam: str,
        cache: AvailabilityCache,
        rendered: RenderedAvailability,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._exam = exam
        self._cache = cache
        self._rendered = rendered
        self._settings = settings
        self._limits = settings.limits_of(StreamLimits)
        self._metrics = metrics
        self._recent = RecentChanges(self._limits.changes_max)
        self._groups: dict[Subjects, Group] = {}
        self._heartbeat = heartbeat()
        self._is_stale = False
        self._is_closed = False
        self._rounds: asyncio.Task[None] | None = None

    def enter(self, subjects: Subjects) -> Group:
        """Return the group of a filter; when there are too many filters, that of all subjects."""
        group = self._groups.get(subjects)
        if group is None and subjects is not None:
            filters = len(self._groups.keys() - {None})
            if filters >= self._limits.filters_max:
                return self.enter(None)
        if group is None:
            group = self._groups[subjects] = Group(subjects)
        group.places += 1
        return group

    def leave(self, group: Group) -> None:
        """Give back what `enter` took."""
        group.places -= 1
        if not group.places:
            del self._groups[group.subjects]

    async def prepare(self) -> None:
        """Know what is left now, from the rounds while there are any."""
        if self._rounds is not None and not self._is_stale:
            return
        availability = await self._cache.current(self._exam)
        # While rounds go on only they go forward, or those who watch already would miss a step.
        if self._rounds is None:
            self._advance(availability)
            self._is_stale = False

    @contextmanager
    def watching(
        self,
        group: Group,
        transport: asyncio.Transport,
        *,
        is_chunked: bool,
        last_state_id: str | None,
    ) -> Iterator[Watcher]:
        """Write to a connection, first what it missed since a state, or everything.

        While anybody watches the seats are looked at again and again.
        """
        watcher = Watcher(
            transport,
            is_chunked=is_chunked,
            stall_timeout_s=self._limits.stall_timeout_s,
            caught_up=lambda watcher: self._catch_up(group, watcher),
            cut=self._metrics.streams_cut.inc,
        )
        if self._is_closed:
            watcher.end()
        else:
            self._begin(group, watcher, last_state_id)
        try:
            yield watcher
        finally:
            watcher.close()
            group.watchers.discard(watcher)

    def _begin(self, group: Group, watcher: Watcher, last_state_id: str | None) -> None:
        watcher.listen(self._limits.buffer_max_bytes)
        for message in self._first_messages(group, last_state_id):
            watcher.tell(message)
        if not group.watchers:
            group.told_at = asyncio.get_running_loop().time()
        group.watchers.add(watcher)
        if self._rounds is None:
            self._rounds = asyncio.get_running_loop().create_task(self._go_round())

    async def close(self) -> None:
        """End every stream of the exam."""
        self._is_closed = True
        for group in self._groups.values():
            for watcher in group.watchers:
                watcher.end()
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.wait((self._rounds,))

    def _first_messages(self, group: Group, last_state_id: str | None) -> Iterator[Message]:
        change = None if last_state_id is None else self._recent.since(last_state_id)
        if last_state_id is None or change is None:
            yield from self._everything(group)
            return
        if last_state_id not in group.resumed:
            group.resumed[last_state_id] = change_message(change, group.subjects)
        message = group.resumed[last_state_id]
        if message is not None:
            yield message
        yield from self._doubts()

    def _everything(self, group: Group) -> Iterator[Message]:
        yield self._snapshot(group)
        yield from self._doubts()

    def _doubts(self) -> Iterator[Message]:
        if self._is_stale:
            yield _stale_message(self._latest)

    def _catch_up(self, group: Group, watcher: Watcher) -> None:
        self._metrics.streams_behind.inc()
        for message in self._everything(group):
            watcher.tell(message)

    def _snapshot(self, group: Group) -> Message:
        message = group.snapshot
        if message is None:
            body = self._rendered.body(self._latest, group.subjects, is_bounded=False)
            message = event("snapshot", body, state_id=self._latest.state_id)
            if group.subjects is None or len(body) <= _KEPT_MAX_BYTES:
                group.snapshot = message
        return message

    @property
    def _latest(self) -> Availability:
        latest = self._recent.latest
        if latest is None:
            raise AssertionError("an exam has watchers before its first read")
        return latest

    def _advance(self, availability: Availability) -> AvailabilityChange | None:
        if availability is not self._recent.latest:
            for group in self._groups.values():
                group.forget()
        return self._recent.advance(availability)

    async def _go_round(self) -> None:
        """Read and send changes repeatedly until there are no watchers."""
        try:
            while not self._is_closed:
                await asyncio.sleep(self._settings.stream_interval_ms / 1000)
                if not self._groups:
                    return
                try:
                    await self._tell_news()
                    await self._tell_the_quiet()
                except Exception:
                    # Whatever it is, the next round must come: it is all that watchers hear.
                    log.exception("a round of the streams failed")
        finally:
            self._rounds = None

    async def _tell_news(self) -> None:
        was_stale = self._is_stale
        try:
            availability = await self._cache.current(self._exam)
        except QuotaError as error:
            if not was_stale:
                log.warning("streams are stale", extra={"exam": self._exam, "cause": str(error)})
                self._is_stale = True
                message = _stale_message(self._latest)
                await self._tell_each(self._groups.values(), lambda _: message)
            return
        change = self._advance(availability)
        self._is_stale = False
        if change is None or was_stale:
            await self._tell_each(self._groups.values(), self._snapshot)
        elif change.quotas:
            news = change
            await self._tell_each(
                self._groups.values(), lambda group: change_message(news, group.subjects)
            )

    async def _tell_the_quiet(self) -> None:
        """Write a heartbeat to those who have heard nothing for long."""
        due = asyncio.get_running_loop().time() - self._settings.stream_heartbeat_s
        quiet = [group for group in self._groups.values() if group.told_at <= due]
        await self._tell_each(quiet, lambda _: self._heartbeat)

    async def _tell_each(
        self, groups: Iterable[Group], render: Callable[[Group], Message | None]
    ) -> None:
        """Write to everybody who watches now, and let others have their turn in between.

        New watchers are skipped meanwhile: they begin with the state that is being sent.
        """
        slice_max = self._limits.writes_per_turn_max
        for group, watchers in [(group, tuple(group.watchers)) for group in groups]:
            message = render(group)
            if message is None:
                continue
            group.told_at = asyncio.get_running_loop().time()
            for first in range(0, len(watchers), slice_max):
                for watcher in watchers[first : first + slice_max]:
                    watcher.tell(message)
                await asyncio.sleep(0)


def change_message(change: AvailabilityChange, subjects: Sequence[str] | None) -> Message | None:
    """Return what changed in some subjects; None when nothing did."""
    document = change_json(change, subjects)
    if not document["quotas"]:
        return None
    return event("change", orjson.dumps(document), state_id=change.after.state_id)


def _stale_message(availability: Availability) -> Message:
    """Return the word that nothing newer is known for now; it has no id of its own."""
    return event("stale", orjson.dumps(stale_json(availability)))
