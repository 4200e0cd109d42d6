"""The way through a waiting room as one call: join, wait for the turn, claim the place.

What `keep` stores goes on after a break:

    granted = await client.admitted("exam-1", "c-7f3a91", lambda progress: keep(progress.ticket))
    held = await client.reserve(
        "exam-1",
        candidate="c-7f3a91",
        subjects=["general"],
        venues=["jinan"],
        accepted_notice="2023-1",
        waiting_room_pass=granted["pass"],
    )
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from quota_service.client.calls import Calls
from quota_service.client.documents import Pass, Ticket, WaitingRoom
from quota_service.client.draw import is_turn, rank_of
from quota_service.client.problems import NotYourTurn, TicketUsed, TurnPassed

JOINS_MAX = 3
"""How often a candidate whose turn passed stands in line again, at the back."""
_OWN_JITTER = (0.5, 1.5)
"""The document is one for all, so a crowd that took its word would come as one."""
_POLL_LEAST_S = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a wait: the ticket, the room as it was told last, the rank in the draw."""

    ticket: Ticket
    room: WaitingRoom
    rank: str | None
    """Of a ticket for the draw, once it is drawn."""
    next_look_s: float
    """Seconds until the room is looked at again."""

    @property
    def is_turn(self) -> bool:
        """Whether the place can be claimed."""
        return is_turn(self.room, self.ticket, self.rank)


async def admitted(
    calls: Calls,
    exam: str,
    candidate: str,
    on_progress: Callable[[Progress], None] = lambda _: None,
    ticket: Ticket | None = None,
) -> Pass:
    """Return the pass of a candidate, once it has been admitted.

    `on_progress` is told of each look at the room: keep the ticket in it, and go on with that one
    after a break, because who joins again after the opening stands at the back. So does a candidate
    whose turn passed. Raises what the calls do, TurnPassed and TicketUsed after too many turns were
    missed, and ValueError for a seed that was not committed to.
    """
    missed = 0
    while True:
        ticket = ticket or await calls.join_waiting_room(exam, candidate=candidate)
        try:
            return await _claimed(calls, ticket, on_progress)
        except (TurnPassed, TicketUsed):
            missed += 1
            if missed == JOINS_MAX:
                raise
        ticket = None


async def _claimed(calls: Calls, ticket: Ticket, on_progress: Callable[[Progress], None]) -> Pass:
    """Wait for the turn of a ticket and claim the place."""
    exam, candidate = ticket["exam"], ticket["candidate"]
    while True:
        room = await calls.get_waiting_room(exam)
        rank = ticket["rank"]
        if ticket["kind"] == "draw" and rank is None:
            rank = rank_of(room, candidate)
        next_look_s = max(_POLL_LEAST_S, room["poll_after"] * random.uniform(*_OWN_JITTER))  # noqa: S311
        progress = Progress(ticket, room, rank, next_look_s)
        on_progress(progress)
        # A room that has closed says so when the place is claimed.
        if progress.is_turn or room["phase"] == "closed":
            try:
                return await calls.claim_place(exam, candidate=candidate, ticket=ticket["ticket"])
            except NotYourTurn:
                pass  # another process may show the document of a second ago
        await asyncio.sleep(next_look_s)
