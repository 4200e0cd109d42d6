"""The status of a waiting room: whose turn it is, who waits, and for how long.

First all of the draw have their turn, by rank, then those with a number, by number. What the two
stores know is put together here; nothing of it is decided here.
"""

from dataclasses import dataclass
from enum import StrEnum

from quota_service.domain.exam import Exam, WaitingRoomRules, Window
from quota_service.waiting_room.draw import rank, share, sourced_rank
from quota_service.waiting_room.room import Room
from quota_service.waiting_room.tickets import Ticket


class Phase(StrEnum):
    """The phase of a waiting room; each follows the one before it.

    A room whose opening is postponed is before it again: it admits no candidate and keeps its draw.
    """

    BEFORE = "before"
    DRAW = "draw"
    QUEUE = "queue"
    CLOSED = "closed"


class Turn(StrEnum):
    """The state of a ticket's turn."""

    TO_COME = "to come"
    HERE = "here"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Counts:
    """What Redis knows of a room.

    `last_number` is None where it has handed out none, or forgot. `registration` is the window of
    the definition in force, None where Redis could never be asked. The draw is closed once an
    opening has passed.
    """

    last_number: int | None = None
    drawn: int = 0
    registration: Window | None = None
    is_draw_closed: bool = False


@dataclass(frozen=True, slots=True)
class RoomStatus:
    """A room with its exam, its rules and what was counted last."""

    exam: Exam
    rules: WaitingRoomRules
    room: Room
    counts: Counts

    @property
    def registration(self) -> Window:
        """The window that is in force, as far as this process knows."""
        return self.counts.registration or self.exam.registration

    def phase(self, now_ms: int) -> Phase:
        """Return the phase: no candidate is admitted before the ranks are settled."""
        if now_ms >= self.registration.closes_at_ms:
            return Phase.CLOSED
        if now_ms < self.registration.opens_at_ms or not self.room.is_draw_ready:
            return Phase.BEFORE
        return Phase.QUEUE if self.room.has_admitted_draw else Phase.DRAW

    def rank(self, candidate: str) -> str | None:
        """Return the rank of a candidate in the draw, None while it cannot be known."""
        key = self.room.rank_key
        if key is None:
            return None
        by = rank if self.room.draw is None else sourced_rank
        return by(key, self.exam.id, candidate)

    def turn(self, ticket: Ticket) -> Turn:
        """Return the state of a ticket's turn."""
        room = self.room
        if ticket.is_for_draw:
            drawn = self.rank(ticket.candidate)
            if drawn is None:
                return Turn.TO_COME
            is_late, has_come = drawn <= room.late_threshold, drawn <= room.threshold
        else:
            is_late, has_come = ticket.place <= room.late_through, ticket.place <= room.serving
        if is_late:
            return Turn.PASSED
        return Turn.HERE if has_come else Turn.TO_COME

    @property
    def rate_per_s(self) -> float:
        """How many are let in a second, as decided last."""
        return self.room.rate if self.room.fixed_rate is None else self.room.fixed_rate

    @property
    def handed_out(self) -> int:
        """The highest number that may be issued.

        Where Redis knows of none, it may be any that was ever set aside.
        """
        last = self.counts.last_number
        return self.room.numbers_reserved if last is None else last

    @property
    def joined(self) -> int:
        """How many have joined: the draw, estimated, and the numbers that were issued."""
        return self._drawn + self.handed_out

    @property
    def waiting_in_draw(self) -> int:
        """How many of the draw wait for their turn, estimated: all before the first number."""
        return round(self._drawn * (1 - share(self.room.threshold)))

    @property
    def waiting(self) -> int:
        """How many wait for their turn: what is left of the draw, and the queue."""
        return self.waiting_in_draw + max(0, self.handed_out - self.room.serving)

    def ahead_of(self, ticket: Ticket) -> int:
        """Return how many have their turn before a ticket, estimated."""
        if not ticket.is_for_draw:
            return self.waiting_in_draw + max(0, ticket.place - 1 - self.room.serving)
        drawn = self.rank(ticket.candidate)
        if drawn is None:
            return self.waiting_in_draw
        before = share(drawn) - share(self.room.threshold)
        return round(self._drawn * max(0.0, before))

    @property
    def _drawn(self) -> int:
        """How many are in the draw, as far as either store knows."""
        return max(self.room.drawn, self.counts.drawn)
