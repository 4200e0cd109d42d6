"""The records of the simulation: one note for each call, answer and observation.

The candidates, the payment provider and the watcher write notes; the checks, the figures and the
picture read them and nothing else of the simulation. Notes are plain values of their own types, so
that a locust worker can send them to its master and a test can make them up. Times are seconds
since the Unix epoch.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Document = dict[str, Any]
"""A JSON object as the service answered it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its step, when it was sent and how it ended; status 0 when nothing came."""

    step: str
    at_s: float
    took_ms: float
    status: int
    slug: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A candidate came to the frontend."""

    candidate: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Ticketed:
    """A candidate joined the waiting room; `kind` is `draw` or `number`, `rank` as answered."""

    candidate: str
    kind: str
    rank: str | None
    number: int | None
    at_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """The end of a wait by the public document.

    `waited_s` is when the last poll was sent that was to wait, None when there was none after the
    opening; `called_s` is when the first poll was answered that said it is their turn, None when
    it never did.
    """

    candidate: str
    kind: str
    rank: str | None
    number: int | None
    waited_s: float | None
    called_s: float | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A candidate was given a pass."""

    candidate: str
    kind: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation request was answered 201; the first and every repeat of a key alike.

    `order` is the body that was sent, `pass_text` the pass it came with, empty without a room.
    """

    key: str
    at_s: float
    reservation: Document
    order: Document
    pass_text: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A candidate joined the waiting list: the entry as it was answered."""

    at_s: float
    entry: Document


@dataclass(frozen=True, slots=True)
class Offered:
    """A candidate who waited was seen to have an offer; `reservation` is its hold."""

    entry: str
    reservation: str
    at_s: float


@dataclass(frozen=True, slots=True)
class LeftList:
    """A candidate leaves the waiting list; noted before the call is sent."""

    entry: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Repeated:
    """A call other than an order was sent twice; whether both answers were the same."""

    what: str
    is_same: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A candidate was shown the deadline of an unpaid hold, as RFC 3339."""

    reservation: str
    at_s: float
    deadline: str


@dataclass(frozen=True, slots=True)
class Done:
    """A release, change or refund was answered 200; `venue` as it stood then."""

    reservation: str
    verb: str
    at_s: float
    venue: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider has a payment to report; noted before its first callback is sent."""

    event: str
    reservation: str
    status: str
    amount: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """One callback was answered; `outcome` is that of a 200, else empty."""

    event: str
    at_s: float
    status: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that must be refused was tried; `expected` are the allowed slugs."""

    what: str
    expected: Sequence[str]
    status: int
    slug: str


@dataclass(frozen=True, slots=True)
class Looked:
    """What the watcher saw: seats, quotas without any, and the room (0 where there is none)."""

    at_s: float
    remaining: int
    capacity: int
    quotas: int
    quotas_sold_out: int
    waiting: int
    rate: float
    listed: int = 0
    """Entries that wait in the waiting list."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process of the service exported; `cpu_s` and `refused` count since its start."""

    url: str
    at_s: float
    cpu_s: float
    at_work: float
    waiting: float
    refused: float
    journal_lag_s: float


_TellsOfCandidates = Arrived | Ticketed | Turn | Claimed | Held | Repeated | Shown | Done | Attempt
_TellsOfTheList = Listed | Offered | LeftList
Note = Call | _TellsOfCandidates | _TellsOfTheList | Sent | Delivered | Looked | Measured
_TYPES = {
    kind.__name__: kind
    for kind in (
        Call,
        Arrived,
        Ticketed,
        Turn,
        Claimed,
        Held,
        Listed,
        Offered,
        LeftList,
        Repeated,
        Shown,
        Done,
        Sent,
        Delivered,
        Attempt,
        Looked,
        Measured,
    )
}
_Kind = TypeVar("_Kind")


class Evidence:
    """Every note of a run, by type, in the order they were made (or came from a worker)."""

    def __init__(self, notes: Iterable[Note] = ()) -> None:
        self._by_type: defaultdict[type, list[Any]] = defaultdict(list)
        for note in notes:
            self.add(note)

    def add(self, note: Note) -> None:
        """Keep a note."""
        self._by_type[type(note)].append(note)

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        """Return all notes of a type."""
        return self._by_type[kind]

    def take_wire(self) -> list[list[Any]]:
        """Take all notes out, as lists that msgpack carries; `add_wire` is the other end."""
        wire = [
            [kind.__name__, *(getattr(note, item.name) for item in dataclasses.fields(kind))]
            for kind, notes in self._by_type.items()
            for note in notes
        ]
        self._by_type.clear()
        return wire

    def add_wire(self, wire: Iterable[Sequence[Any]]) -> None:
        """Keep the notes that another process took out."""
        for name, *values in wire:
            self.add(_TYPES[name](*values))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the service says at the end, when all is quiet, through its API alone.

    `exam` is the definition with its seats as last imported, `views` the candidate views by
    candidate, `ready_status` the status of /readyz, and `probe_status` of one replayed order.
    """

    at_s: float
    exam: Document
    audit: Document
    bookings: Sequence[Document]
    refunds_due: Sequence[Document]
    availability: Document
    views: dict[str, Document]
    room: Document | None
    ready_status: int
    probe_status: int
