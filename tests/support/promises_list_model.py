"""What should be true of returned seats and a waiting list, in plain Python.

The dealing is written here once more, by the rule as it is published: entries in order, the first
that can be served in full, at the first of its venues that has it all.
"""

from collections import Counter
from dataclasses import dataclass, field

from quota_service.domain.exam import Quota
from tests.support.promises_model import Held, Model

SEATS = {
    "jinan": {"general": 1, "qms": 1, "ems": 1, "service": 1},
    "tianjin": {"general": 1, "qms": 1, "ems": 0, "service": 1},
}
CEILINGS = {("jinan", "day1-pm"): 1, ("tianjin", "day1-pm"): 1}
_LIVE = {"waiting", "offered"}
_ENDS = {"confirmed": "served", "refunded": "served", "released": "declined", "expired": "missed"}


@dataclass
class Waiting:
    """An entry of the list."""

    id: str
    candidate: str
    subjects: tuple[str, ...]
    venues: tuple[str, ...]
    state: str = "waiting"
    hold: Held | None = None

    @property
    def is_live(self) -> bool:
        return self.state in _LIVE

    def quotas_at(self, venue: str) -> list[Quota]:
        return [Quota(venue, subject) for subject in self.subjects]


@dataclass
class Pool:
    """Seats that a dealing can give: those that came back, those on sale, places under ceilings."""

    returned: Counter[Quota]
    on_sale: dict[Quota, int]
    places: dict[tuple[str, str], int]


@dataclass
class ListModel(Model):
    """The model of an exam whose seats come back by a rule of its own."""

    rule: str = "list-first"
    ceilings: dict[tuple[str, str], int] = field(default_factory=dict)
    returned: Counter[Quota] = field(default_factory=Counter)
    entries: list[Waiting] = field(default_factory=list)

    @property
    def waiting(self) -> list[Waiting]:
        """Those who wait, in order."""
        return [entry for entry in self.entries if entry.state == "waiting"]

    def remaining(self, quota: Quota) -> int:
        return super().remaining(quota) - self.returned[quota]

    def place(self, quota: Quota) -> tuple[str, str]:
        return quota.venue, self.session_of[quota.subject]

    def places_left(self, place: tuple[str, str]) -> int:
        """Return the places left under a ceiling: every seat that is not on sale has one."""
        venue, session = place
        seats = self.seats[venue]
        quotas = [Quota(venue, s) for s in seats if self.session_of[s] == session]
        return self.ceilings[place] - sum(
            seats[quota.subject] - self.remaining(quota) for quota in quotas
        )

    def on_sale(self, quota: Quota) -> int:
        seats, place = self.remaining(quota), self.place(quota)
        return min(seats, self.places_left(place)) if place in self.ceilings else seats

    def can_change(self, session_of: dict[str, str], fee: int) -> bool:
        if not super().can_change(session_of, fee):
            return False
        before, self.session_of = self.session_of, session_of
        fit = all(self.places_left(place) >= 0 for place in self.ceilings)
        self.session_of = before
        return fit

    def move_places(self, before: dict[str, str]) -> None:
        """Let seats wait that places put on sale which a subject has left.

        Whether somebody wants any of them is known by the sessions of before, until a dealing.
        """
        now, more = self.session_of, {}
        for place in self.ceilings:
            self.session_of = before
            left = max(self.places_left(place), 0)
            wanted = self.is_wanted_under(place)
            self.session_of = now
            if self.rule == "at-times" or wanted:
                more[place] = self.places_left(place) - left
        for venue, seats in self.seats.items():
            for quota in sorted(Quota(venue, subject) for subject in seats):
                place = self.place(quota)
                kept = max(min(more.get(place, 0), self.remaining(quota)), 0)
                if kept:
                    self.returned[quota] += kept
                    more[place] -= kept

    def is_wanted_under(self, place: tuple[str, str]) -> bool:
        """Whether somebody waits for a seat under a ceiling."""
        wanted = {q for entry in self.waiting for v in entry.venues for q in entry.quotas_at(v)}
        return place in {self.place(quota) for quota in wanted}

    def is_kept(self, quota: Quota) -> bool:
        """Whether a seat that comes back waits to be dealt."""
        if self.rule == "at-times":
            return True
        place = self.place(quota)
        wanted = {q for entry in self.waiting for v in entry.venues for q in entry.quotas_at(v)}
        return quota in wanted or (
            place in self.ceilings and place in {self.place(each) for each in wanted}
        )

    def give_back(self, quotas: list[Quota]) -> None:
        self.returned.update(quota for quota in quotas if self.is_kept(quota))

    def raise_capacity(self, quota: Quota, more: int) -> None:
        kept, place = 0, self.place(quota)
        if more > 0 and self.is_kept(quota):
            kept = min(more, max(self.places_left(place), 0)) if place in self.ceilings else more
        if more < 0:
            kept = min(0, more + self.remaining(quota))
        super().raise_capacity(quota, more)
        self.returned[quota] += kept

    def live_entry(self, candidate: str) -> Waiting | None:
        """Return the entry of a candidate that waits or has an offer."""
        found = [each for each in self.entries if each.candidate == candidate and each.is_live]
        return found[0] if found else None

    def pick_entry(self, n: int) -> Waiting | None:
        """The n-th newest entry, going round; None when there are none."""
        return self.entries[-1 - n % len(self.entries)] if self.entries else None

    def end_offer(self, entry: Waiting) -> None:
        """End an entry whose offer has ended."""
        if entry.hold is not None and entry.state == "offered":
            entry.state = _ENDS.get(entry.hold.state, "offered")

    def deal(self) -> list[tuple[Waiting, str]]:
        """Deal what came back; return who is offered seats, and at which venue.

        The caller makes the holds: they are in `reservations` from then on.
        """
        for entry in self.entries:
            self.end_offer(entry)
        is_paused = ("", "") in self.pauses
        for entry in self.waiting:
            if not self.is_open or (not is_paused and self.is_twice_in_a_session(entry.subjects)):
                entry.state = "over"
        if is_paused:
            return []
        while True:
            pool = self._pool()
            offers = [(e, venue) for e in self.waiting if (venue := self._serve(e, pool))]
            taken = [e for e, _ in offers if self.standing(e.candidate, e.subjects)]
            if not taken:
                break
            for entry in taken:
                entry.state = "conflict"
        stopped = {
            quota for quota in self.returned if self.is_paused(quota.venue, (quota.subject,))
        }
        self.returned = Counter({q: n for q, n in self.returned.items() if q in stopped and n})
        return offers

    def can_be_served(self, entry: Waiting) -> bool:
        """Whether seats on open sale would serve an entry in full."""
        return any(
            all(self.on_sale(quota) > 0 for quota in entry.quotas_at(venue))
            for venue in entry.venues
        )

    def _pool(self) -> Pool:
        quotas = [Quota(venue, subject) for venue, seats in self.seats.items() for subject in seats]
        going_on = [q for q in quotas if not self.is_paused(q.venue, (q.subject,))]
        return Pool(
            Counter({quota: self.returned[quota] for quota in going_on}),
            {quota: self.remaining(quota) for quota in going_on},
            {place: self.places_left(place) for place in self.ceilings},
        )

    def _serve(self, entry: Waiting, pool: Pool) -> str:
        """Take the seats of an entry out of the pool; return the venue, "" where none has all."""
        for venue in entry.venues:
            sources = [self._source(quota, pool) for quota in entry.quotas_at(venue)]
            if None in sources:
                continue
            for quota, source in zip(entry.quotas_at(venue), sources, strict=True):
                if source is not None and source != self.place(quota):
                    self._take_returned(quota, source, pool)
                else:
                    pool.on_sale[quota] -= 1
                    if self.place(quota) in pool.places:
                        pool.places[self.place(quota)] -= 1
            return venue
        return ""

    def _take_returned(self, quota: Quota, source: Quota | tuple[str, str], pool: Pool) -> None:
        """Take a returned seat of a quota; or one on sale, in whose place another is opened."""
        assert isinstance(source, Quota)
        pool.returned[source] -= 1
        if source != quota:
            pool.on_sale[quota] -= 1
            pool.on_sale[source] += 1

    def _source(self, quota: Quota, pool: Pool) -> Quota | tuple[str, str] | None:
        """Where a seat of a quota is: the quota of a returned one, its place, or nowhere."""
        place = self.place(quota)
        if pool.returned[quota] > 0:
            return quota
        if pool.on_sale.get(quota, 0) < 1:
            return None
        if pool.places.get(place, 1) > 0:
            return place
        others = [q for q, n in pool.returned.items() if n > 0 and self.place(q) == place]
        return max(others, key=lambda q: (pool.returned[q], str(q))) if others else None
