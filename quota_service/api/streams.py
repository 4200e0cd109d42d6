"""The availability streams that are open in this process: how many, and how they all end."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from quota_service.api.rendered import RenderedAvailability
from quota_service.api.stream_channel import Channel, Group, Subjects
from quota_service.api.stream_watcher import Watcher
from quota_service.domain.errors import Overloaded, Unavailable
from quota_service.observability.metrics import Metrics
from quota_service.registration.availability import AvailabilityCache
from quota_service.settings import Settings


class Streams:
    """All streams of this process, bounded in number."""

    def __init__(
        self,
        cache: AvailabilityCache,
        rendered: RenderedAvailability,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._cache = cache
        self._rendered = rendered
        self._settings = settings
        self._metrics = metrics
        self._channels: dict[str, Channel] = {}
        self._open = 0
        self._of_address: Counter[str] = Counter()
        self._is_closed = False

    @contextmanager
    def place(self, exam: str, subjects: Subjects, address: str) -> Iterator["Place"]:
        """Keep a place for one stream to an address while the block lasts.

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
            channel = Channel(exam, self._cache, self._rendered, self._settings, self._metrics)
            self._channels[exam] = channel
        group = channel.enter(subjects)
        self._open += 1
        self._of_address[address] += 1
        self._metrics.streams.inc()
        place = Place(channel, group)
        try:
            yield place
        finally:
            place.leave()
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


class Place:
    """A place among the watchers of an exam."""

    def __init__(self, channel: Channel, group: Group) -> None:
        self._channel = channel
        self._group = group
        self._watcher: Watcher | None = None

    async def prepare(self) -> None:
        """Look at the seats unless somebody does already.

        Raises NotReady and SeatsUnavailable when they cannot be read now.
        """
        await self._channel.prepare()

    def watch(
        self, transport: asyncio.Transport, *, is_chunked: bool, last_state_id: str | None
    ) -> Watcher:
        """Begin to write to a connection: what it missed since a state, or everything."""
        self._watcher = self._channel.watch(
            self._group, transport, is_chunked=is_chunked, last_state_id=last_state_id
        )
        return self._watcher

    def leave(self) -> None:
        """Write no more to the connection."""
        if self._watcher is not None:
            self._watcher.close()
            self._group.watchers.discard(self._watcher)
