"""The draw worker: freezes the entries of draws with a source, and fetches the sources."""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from quota_service.domain.errors import Unavailable
from quota_service.domain.exam import SourceKind
from quota_service.registration.fetch_beacon import fetch_beacon
from quota_service.registration.settle_draw import freeze_entries, note_beacon
from quota_service.registration.stores import WaitingRoomStores
from quota_service.settings import Settings
from quota_service.waiting_room.room import Room, SourcedDraw
from quota_service.workers.loop import each_of

_DRAWS_AT_ONCE = 8


class DrawWorker:
    """One look at each draw a round. Any number may run: what two do at once is done once."""

    name = "draw"
    interval_s = 1.0

    def __init__(self, stores: WaitingRoomStores, settings: Settings) -> None:
        self._stores = stores
        self._urls = settings.drand_relays.split(",")
        self._fetched: Counter[str] = Counter()
        self._told: frozenset[str] = frozenset()

    async def run_once(self) -> Mapping[str, int]:
        """Do what is due; returns {"closed": draws, "frozen": draws, "sources": known now}.

        It reads the rooms from Postgres itself, because nothing of it needs Redis.
        """
        registry = self._stores.registry
        sourced = [
            exam
            for exam in registry.progress().going_on
            if (rules := registry.find(exam).waiting_room) is not None and rules.source is not None
        ]
        for exam in self._told - set(sourced):
            self._stores.metrics.draw_late.remove_by_labels({"exam": exam})
        self._told = frozenset(sourced)
        if not sourced:
            return {}
        rooms = await self._stores.waiting_rooms.all(sourced)
        counts = await each_of(rooms.values(), self._look, at_once=_DRAWS_AT_ONCE)
        if any(counts.values()):
            with suppress(Unavailable):  # the next look of this process sees it too
                await self._stores.rooms.refresh()
        return counts

    async def _look(self, room: Room) -> Mapping[str, int]:
        if room.draw is None:
            return {}
        now_ms = round(time.time() * 1000)
        due_ms = _due_ms(room, room.draw, now_ms)
        self._stores.metrics.draw_late.labels(exam=room.exam).set(max(0, now_ms - due_ms) / 1000)
        if room.is_draw_closed and room.draw.entries is None:
            await freeze_entries(self._stores, room.exam)
            return {"frozen": 1}
        if room.is_draw_ready or now_ms < due_ms:
            return {}
        if not room.is_draw_closed:
            return {"closed": int(await self._stores.waiting_rooms.close_draw(room.exam))}
        if room.draw.source.kind is SourceKind.EVENT:
            return {}
        url = self._urls[self._fetched[room.exam] % len(self._urls)]
        self._fetched[room.exam] += 1  # the next time from the next one
        signature = await fetch_beacon(url, room.draw.source)
        return {"sources": int(await note_beacon(self._stores, room.exam, signature))}


def _due_ms(room: Room, draw: SourcedDraw, now_ms: int) -> int:
    """Return when the next step of a draw is due, `now_ms` where none is."""
    if draw.entries is None:
        return draw.source.entries_close_at_ms
    return now_ms if room.is_draw_ready else draw.source.at_ms
