"""What should be true of reservations, in plain Python: the model the state machine is held to."""

from collections import Counter
from dataclasses import dataclass, field

from quota_service.domain.exam import Quota
from quota_service.registration.reserve import Order

SESSIONS = ["day1-am", "day1-pm", "day2-am"]
SESSION_OF = {"general": "day1-am", "qms": "day1-pm", "ems": "day1-pm", "service": "day2-am"}
SEATS = {
    "jinan": {"general": 2, "qms": 1, "ems": 1, "service": 1},
    "tianjin": {"general": 1, "qms": 2, "ems": 0, "service": 2},
}


FAIR_USE = {
    "unpaid_holds_max": 3,
    "unpaid_pause_s": 864_000,
    "unpaid_pause_max_s": 864_000,
    "venue_changes_max": 2,
}
"""The pause is longer than any run, and than the hour by which holds are made overdue."""


@dataclass
class Held:
    """A reservation of the model."""

    id: str
    key: str
    order: Order
    venue: str
    first_deadline_ms: int
    sessions: set[str]
    """Those its subjects were in when it took its seats last."""
    amount: int
    state: str = "held"
    changes: int = 0

    @property
    def candidate(self) -> str:
        return self.order.candidate

    @property
    def quotas(self) -> list[Quota]:
        return self.quotas_at(self.venue)

    def quotas_at(self, venue: str) -> list[Quota]:
        return [Quota(venue, subject) for subject in self.order.subjects]

    @property
    def stands(self) -> bool:
        return self.state in {"held", "confirmed"}


@dataclass
class Model:
    """What should be true, by rules short enough to be believed."""

    exam: str
    reservations: list[Held] = field(default_factory=list)
    events: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    refunds: dict[str, str] = field(default_factory=dict)
    """The one refund of each candidate that had one."""
    session_of: dict[str, str] = field(default_factory=lambda: dict(SESSION_OF))
    seats: dict[str, dict[str, int]] = field(
        default_factory=lambda: {venue: dict(by_subject) for venue, by_subject in SEATS.items()}
    )
    fee: int = 8000
    is_open: bool = True
    pauses: dict[tuple[str, str], bool] = field(default_factory=dict)
    """What is paused, as venue and subject, and whether changes of venue are; "" is any."""

    def pick(self, n: int, *states: str) -> Held | None:
        """The n-th newest reservation (of some states), going round; None when there are none."""
        found = [held for held in self.reservations if not states or held.state in states]
        return found[-1 - n % len(found)] if found else None

    def pick_ordered(self, n: int) -> Held | None:
        """The n-th newest that a candidate has ordered, under a key of its own."""
        found = [held for held in self.reservations if held.key]
        return found[-1 - n % len(found)] if found else None

    def count(self, *states: str) -> Counter[Quota]:
        return Counter(q for r in self.reservations if r.state in states for q in r.quotas)

    def remaining(self, quota: Quota) -> int:
        return self.seats.get(quota.venue, {}).get(quota.subject, 0) - self.taken[quota]

    def on_sale(self, quota: Quota) -> int:
        """Return the seats of a quota that can be reserved now."""
        return self.remaining(quota)

    def give_back(self, quotas: list[Quota]) -> None:
        """Let seats come back: what is not taken is on open sale."""

    def raise_capacity(self, quota: Quota, more: int) -> None:
        """Let a quota have more seats (or fewer, below 0)."""
        self.seats[quota.venue][quota.subject] += more

    def is_paused(self, venue: str, subjects: tuple[str, ...], *, for_change: bool = False) -> bool:
        """Whether an order at a venue is paused, or a change to it."""
        return any(
            (stops_changes or not for_change)
            and paused_venue in ("", venue)
            and (not subject or subject in subjects)
            for (paused_venue, subject), stops_changes in self.pauses.items()
        )

    @property
    def taken(self) -> Counter[Quota]:
        return self.count("held", "confirmed")

    def sessions(self, subjects: tuple[str, ...]) -> set[str]:
        return {self.session_of[subject] for subject in subjects}

    def is_twice_in_a_session(self, subjects: tuple[str, ...]) -> bool:
        return len(self.sessions(subjects)) < len(subjects)

    def can_change(self, session_of: dict[str, str], fee: int) -> bool:
        """Whether sessions and fee may change while what is taken stands."""
        moved = {s for s, session in session_of.items() if session != self.session_of[s]}
        taken = {quota.subject for quota, seats in self.taken.items() if seats}
        return not moved & taken and (fee == self.fee or not taken)

    def has_to_wait(self, candidate: str) -> bool:
        """Whether too many of the candidate's holds have ended unpaid."""
        ended = [r for r in self.reservations if r.state in {"released", "expired"}]
        mine = sum(held.candidate == candidate for held in ended)
        return mine >= FAIR_USE["unpaid_holds_max"]

    def first_venue_with_all(
        self, subjects: tuple[str, ...], venues: tuple[str, ...]
    ) -> str | None:
        for venue in venues:
            if all(self.on_sale(Quota(venue, subject)) > 0 for subject in subjects):
                return venue
        return None

    def standing(self, candidate: str, subjects: tuple[str, ...]) -> list[Held]:
        """The candidate's reservations in the sessions of `subjects`."""
        sessions = self.sessions(subjects)
        return [
            held
            for held in self.reservations
            if held.candidate == candidate and held.stands and sessions & held.sessions
        ]

    def pay(self, held: Held, *, amount_is_right: bool) -> tuple[str, str | None]:
        """Walk the model through a captured payment; return its end."""
        if held.state == "confirmed":
            return "refund_due", "already-paid"
        if held.state in {"released", "refunded"}:
            return "refund_due", held.state
        if not amount_is_right:
            return "refund_due", "wrong-amount"
        if held.state == "expired":
            subjects = held.order.subjects
            if self.is_twice_in_a_session(subjects) or self.standing(held.candidate, subjects):
                return "refund_due", "session-conflict"
            if any(self.on_sale(quota) < 1 for quota in held.quotas):
                return "refund_due", "sold-out"
            held.sessions = self.sessions(subjects)
        held.state = "confirmed"
        return "confirmed", None

    def can_move(self, held: Held, venue: str) -> bool:
        """Whether a standing reservation can go from where it is to another venue."""
        return venue != held.venue and all(self.on_sale(q) > 0 for q in held.quotas_at(venue))

    def end(self, held: Held, state: str) -> None:
        """Let a reservation that stands end; its seats come back."""
        held.state = state
        self.give_back(held.quotas)

    def move(self, held: Held, venue: str) -> None:
        """Move a reservation to another venue: the seats of the one before come back."""
        before, held.venue = held.quotas, venue
        held.changes += 1
        self.give_back(before)

    def has_used_changes(self, held: Held) -> bool:
        """Whether the venue has been changed as often as it may."""
        return held.changes >= FAIR_USE["venue_changes_max"]

    def can_be_refunded(self, held: Held) -> bool:
        return held.state == "confirmed" and held.candidate not in self.refunds

    def refund(self, held: Held) -> None:
        """Walk the model through the refund of a booking."""
        self.end(held, "refunded")
        self.refunds[held.candidate] = held.id
