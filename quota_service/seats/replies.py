"""What the seat store is asked and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from quota_service.domain.exam import Quota
from quota_service.domain.reservation import Reservation
from quota_service.seats.codes import Code
from quota_service.waiting_room.passes import Pass

FREE_POOLS = 3
"""How many of the parts of a quota are free seats: remaining, returned and aside."""


@dataclass(slots=True)
class ScriptReply:
    """How a step ended: its code, the reservation after it, and what else the script said.

    `detail` is as the script's header says: for SESSION_CONFLICT the session and the serial that
    takes it, for SOLD_OUT the seats left, for UNPAID_PAUSE when it ends (ms) and how many holds
    ended unpaid, for BELOW_TAKEN quotas and seats.
    """

    code: Code
    reservation: Reservation | None = None
    detail: tuple[Any, ...] = ()


@dataclass(slots=True)
class ReserveRequest:
    """What `reserve` needs of one request; `venues` in order of choice.

    `order` has those that are closed for sale too, and goes into the journal: it is where a booking
    is moved to when its venue falls out. `granted` is the pass of the waiting room, None where the
    exam has none. `set_aside` asks for seats of a set-aside, as `id:code:uses at most`;
    without a code both are empty. "" asks for seats on open sale.
    """

    serial: str
    candidate: str
    subjects: tuple[str, ...]
    sessions: tuple[str, ...]
    venues: tuple[str, ...]
    request_hash: str
    granted: Pass | None = None
    order: tuple[str, ...] = ()
    set_aside: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a shard has in all at one moment, whatever its size; time in ms by Redis's clock."""

    epoch: int
    version: int
    clock_ms: int
    live_holds: int
    attempts: int
    journal_entries: int
    claims: int


class QuotaSeats(NamedTuple):
    """The counters of one quota at one moment."""

    name: str
    """The quota as `venue/subject`."""
    capacity: int
    remaining: int
    returned: int
    aside: int
    held: int
    confirming: int
    confirmed: int


@dataclass(frozen=True, slots=True)
class ShardSnapshot(Totals):
    """Every counter of a shard, seats by quota; each quota is of one moment.

    The totals are as before the first quota was read, in `pages`. `steps` were taken until the last
    was: with none all is of one moment. Every step up to the version is in the counters, and some
    later ones may be.
    """

    pages: int
    steps: int
    capacity: Mapping[Quota, int]
    remaining: Mapping[Quota, int]
    returned: Mapping[Quota, int]
    aside: Mapping[Quota, int]
    held: Mapping[Quota, int]
    confirming: Mapping[Quota, int]
    confirmed: Mapping[Quota, int]

    def parts_of(self, quota: Quota) -> tuple[int, ...]:
        """Return the seats of a quota: remaining, returned, aside, held, confirming, confirmed."""
        counters = (
            *(self.remaining, self.returned, self.aside),
            *(self.held, self.confirming, self.confirmed),
        )
        return tuple(counter.get(quota, 0) for counter in counters)

    def taken(self, quota: Quota) -> int:
        """Return the seats of a quota that reservations have."""
        return sum(self.parts_of(quota)[FREE_POOLS:])


@dataclass(frozen=True, slots=True)
class Waiting:
    """What of a shard waits for a worker, and the ages of the oldest in ms, 0 when there is none.

    The kinds of `oldest_ms` are those of `Metrics.oldest_ages`.
    """

    attempts: int
    journal_entries: int
    oldest_ms: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Due:
    """The serials of holds that are due at a time; `first_ms` is that of the first hold of all."""

    now_ms: int
    first_ms: int | None
    serials: list[str]
