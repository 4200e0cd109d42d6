"""A reservation, its states and the id that finds it.

The states form a small machine. Every transition is made by exactly one Redis script, and the table
here says which; nothing else writes a state.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """The state of a reservation."""

    HELD = "held"
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    CHANGING_VENUE = "changing_venue"
    REFUNDED = "refunded"
    RELEASED = "released"
    EXPIRED = "expired"

    @property
    def is_ended(self) -> bool:
        """Whether the seats have gone back."""
        return self in {State.REFUNDED, State.RELEASED, State.EXPIRED}

    @property
    def is_booked(self) -> bool:
        """Whether the seats are booked for good, here or there."""
        return self in {State.CONFIRMED, State.CHANGING_VENUE}


TRANSITIONS: dict[str, frozenset[tuple[State, State]]] = {
    "checkout": frozenset({(State.HELD, State.HELD)}),
    "extend": frozenset({(State.HELD, State.HELD), (State.CONFIRMING, State.CONFIRMING)}),
    "release": frozenset({(State.HELD, State.RELEASED)}),
    "expire": frozenset({(State.HELD, State.EXPIRED)}),
    "begin_payment": frozenset({(State.HELD, State.CONFIRMING), (State.EXPIRED, State.CONFIRMING)}),
    "abandon_payment": frozenset(
        {(State.CONFIRMING, State.HELD), (State.CONFIRMING, State.EXPIRED)}
    ),
    "confirm": frozenset({(State.CONFIRMING, State.CONFIRMED)}),
    "change": frozenset({(State.HELD, State.HELD), (State.CONFIRMED, State.CHANGING_VENUE)}),
    "finish_change": frozenset({(State.CHANGING_VENUE, State.CONFIRMED)}),
    "refund": frozenset({(State.CONFIRMED, State.REFUNDED)}),
    "put": frozenset(
        {
            (State.CONFIRMING, State.HELD),
            (State.HELD, State.EXPIRED),
            (State.CONFIRMING, State.EXPIRED),
        }
    ),
}
"""The transitions each script makes, by script name.

`reserve` and `offer` make the record in state `held`.
"""


@dataclass(slots=True)
class Reservation:
    """One candidate's subjects at one venue of one exam, as in its record in Redis.

    It is never changed; it is not frozen because one is made for every answer, and freezing twenty
    fields takes longer than all else that is done with them.

    `deadline_ms` is what the candidate is shown; `first_deadline_ms` and `first_venue` are what the
    first answer showed, so that a repeated request is answered as the first was. `due_ms` is when
    the expiry may take the seats back; 0 while a payment is recorded for a hold that had expired.
    `attempt` names the attempt to record a payment or a change of venue, empty when
    none is; `to_venue` is where that change goes. `venue_changes` counts those that are done.
    `key_id` names the API key a hold was made with; a booking has none. `set_aside` names the
    set-aside and the code that the seats are from, as `id:code`; empty for seats of open sale.
    """

    id: str
    exam: str
    candidate: str
    venue: str
    subjects: tuple[str, ...]
    sessions: tuple[str, ...]
    state: State
    amount: int
    currency: str
    created_ms: int
    first_deadline_ms: int
    deadline_ms: int
    due_ms: int
    checked_out: bool
    payment_seen: bool
    attempt: str
    attempt_began_ms: int
    request_hash: str
    to_venue: str = ""
    first_venue: str = ""
    venue_changes: int = 0
    key_id: str = ""
    set_aside: str = ""

    def as_first_answered(self) -> "Reservation":
        """Return the reservation as the request that made it was answered.

        What costs nothing is confirmed by then.
        """
        return replace(
            self,
            state=State.HELD if self.amount else State.CONFIRMED,
            venue=self.first_venue,
            deadline_ms=self.first_deadline_ms,
            payment_seen=False,
        )

    def as_moved(self) -> "Reservation":
        """Return a booking as it is when its change of venue is done."""
        return replace(
            self,
            state=State.CONFIRMED,
            venue=self.to_venue,
            to_venue="",
            attempt="",
            attempt_began_ms=0,
            venue_changes=self.venue_changes + 1,
            set_aside="",
        )


RESERVATION_ID = re.compile(
    r"([a-z0-9][a-z0-9_-]{0,31})\.(0|[1-9][0-9]{0,3})\.([a-z2-7]{24})", re.ASCII
)
"""The form of an id as it is published. Ids that are given out have 0 in the middle, always."""

_SERIAL_BYTES = 15


@dataclass(frozen=True, slots=True)
class ReservationId:
    """The parts of a reservation id, `exam.0.serial`: the id alone finds the record."""

    exam: str
    serial: str

    def __str__(self) -> str:
        """Return the id as clients see it."""
        return f"{self.exam}.0.{self.serial}"

    @classmethod
    def parse(cls, text: str) -> "ReservationId | None":
        """Return the parts of `text`, or None when it was never one of our ids."""
        found = RESERVATION_ID.fullmatch(text)
        if found is None or found[2] != "0":
            return None
        return cls(found[1], found[3])


def derive_serial(id_key: bytes | None, exam: str, candidate: str, key: str) -> str:
    """Return the serial of a request's reservation.

    It is 120 bits of HMAC-SHA256 over exam, candidate and idempotency key, separated by a byte none
    of them contains, so that who knows these three cannot compute it. Without a key, for an exam
    that is older than such keys, it is 120 bits of BLAKE2b.
    """
    identity = f"{exam}\n{candidate}\n{key}".encode()
    if id_key is None:
        return _base32(hashlib.blake2b(identity, digest_size=_SERIAL_BYTES).digest())
    return _base32(hmac.digest(id_key, identity, "sha256")[:_SERIAL_BYTES])


_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(a + b for a in _BASE32 for b in _BASE32)


def _base32(digest: bytes) -> str:
    """Return 15 bytes in lower-case Base32 (RFC 4648), two characters at a time.

    The standard library's takes several times as long, and every order needs one.
    """
    number = int.from_bytes(digest, "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(110, -1, -10)])
