"""The draw worker: freezes the entries of draws with a source, and fetches the sources."""

from collections import Counter
from collections.abc import Mapping

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

    async def run_once(self) -> Mapping[str, int]:
        """Do what is due; returns {"frozen": draws, "sources": sources that are known now}."""
        registry = self._stores.registry
        sourced = [
            exam
            for exam in registry.progress().going_on
            if (rules := registry.find(exam).waiting_room) is not None and rules.source is not None
        ]
        return await each_of(sourced, self._look, at_once=_DRAWS_AT_ONCE)

    async def _look(self, exam: str) -> Mapping[str, int]:
        stores = self._stores
        room = stores.rooms.current(exam).status.room
        if room.draw is None:
            return {}
        now_ms = stores.rooms.now_ms()
        late_s = max(0.0, (now_ms - _due_ms(room, room.draw, now_ms)) / 1000)
        stores.metrics.draw_late.labels(exam=exam).set(late_s)
        if not room.is_draw_closed or room.is_draw_ready:
            return {}
        if room.draw.entries is None:
            await freeze_entries(stores, exam)
            await stores.rooms.refresh()
            return {"frozen": 1}
        source = room.draw.source
        if source.kind is SourceKind.EVENT or now_ms < source.at_ms:
            return {}
        url = self._urls[self._fetched[exam] % len(self._urls)]
        self._fetched[exam] += 1  # the next time from the next one
        is_noted = await note_beacon(stores, exam, await fetch_beacon(url, source))
        await stores.rooms.refresh()
        return {"sources": int(is_noted)}


def _due_ms(room: Room, draw: SourcedDraw, now_ms: int) -> int:
    """Return since when something of a draw is due, `now_ms` where nothing is."""
    if draw.entries is None:
        return draw.source.entries_close_at_ms
    return now_ms if room.is_draw_ready else draw.source.at_ms
