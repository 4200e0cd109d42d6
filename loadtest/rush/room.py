"""A candidate in the waiting room: a ticket, polls of the public document, a claim, a pass.

The document is the same for all; a client compares its own rank or number with it. The rank of a
ticket of the draw is worked out from the revealed seed, as anybody can.
"""

import time

import gevent

from loadtest.rush.calls import Answer
from loadtest.rush.evidence import Attempt, Claimed, Document, Repeated, Ticketed, Turn
from loadtest.rush.fairness import DRAW
from loadtest.rush.plan import Cheat, Claiming, Plan
from loadtest.rush.world import BUSY_RETRIES_MAX, World
from quota_service.client.call import Call
from quota_service.client.draw import is_turn, rank_of
from quota_service.client.unsent import UNSENT

JOINS_MAX = 3
POLLS_MAX = 10_000
_POLL_LEAST_S = 0.2
_POLL_MOST_S = 60.0
_CLEARLY_BEFORE_S = 3.0
_TICKETS_KEPT = 50
_OWN_JITTER = (0.5, 1.5)
_NOON_SPREAD_S = 1.0
"""Frontends spread the looks at noon by as much as the public document may be old."""

_REJOIN = frozenset({"turn-passed", "ticket-used"})
_NOT_YET = "not-your-turn"


class WaitingRoom:
    """Takes one candidate through the room, as often as needed."""

    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self._plan = plan
        self._exam = world.options.exam
        self._claiming = plan.claiming
        self._has_cheated = False

    def enter(self) -> str | None:
        """Return a pass, None when the candidate went home without one."""
        for _ in range(JOINS_MAX):
            ticket = self._join()
            if ticket is None:
                return None
            self._cheat(ticket)
            if not self._await_turn(ticket) or not self._comes_to_claim():
                return None
            found = self._claim(ticket)
            if found is None or found.is_ok:
                return found.document["pass"] if found else None
            if found.slug not in _REJOIN:
                return None
        return None

    def leave(self) -> None:
        """Say that this candidate is finished, so that another gets the place."""
        finishing = UNSENT.finish_place(self._exam, self._plan.candidate)
        self._world.frontend.send("leave room", finishing)

    def _comes_to_claim(self) -> bool:
        """Let the turn wait as the plan says; False for those who never come back."""
        grace_s, draw = self._world.options.claim_grace_s, self._world.draw
        claiming, self._claiming = self._claiming, Claiming.AT_ONCE
        if claiming is Claiming.SLOWLY:
            gevent.sleep(grace_s * draw.uniform(0.1, 0.6))
        elif claiming is Claiming.TOO_LATE:
            gevent.sleep(grace_s * draw.uniform(1.2, 1.6))
        return claiming is not Claiming.NEVER and not self._world.is_over

    def _join(self) -> Document | None:
        """Take a ticket; a candidate who presses twice has the same place both times."""
        world, candidate = self._world, self._plan.candidate
        joining = UNSENT.join_waiting_room(self._exam, candidate=candidate)
        answer = None
        for _ in range(2 if self._plan.presses_twice else 1):
            answer = self._until_heard("join", joining)
            if answer is None or not answer.is_ok:
                return None
            told = answer.document
            world.evidence.add(
                Ticketed(candidate, told["kind"], told["rank"], told["number"], answer.answered_s)
            )
        if answer is None:
            return None
        told = answer.document
        if len(world.own_tickets) < _TICKETS_KEPT:
            world.own_tickets.append(told["ticket"])
        return told

    def _await_turn(self, ticket: Document) -> bool:
        """Poll until the document says it is this ticket's turn; False when the day is over."""
        world, waited_s = self._world, None
        rank, polling = ticket["rank"], UNSENT.get_waiting_room(self._exam)
        for _ in range(POLLS_MAX):
            answer = world.public.send("poll", polling)
            pause_s = world.draw.uniform(1.0, 2.0)
            if answer.is_ok:
                document = answer.document
                # The document is one for all, so a crowd that took its word would come as one.
                pause_s = document["poll_after"] * world.draw.uniform(*_OWN_JITTER)
                if ticket["kind"] == DRAW and rank is None:
                    rank = rank_of(document, self._plan.candidate)
                if is_turn(document, ticket, rank):
                    self._note(ticket, rank, waited_s, answer.answered_s)
                    return True
                if document["phase"] != "before":
                    waited_s = answer.sent_s
                else:
                    # Every candidate polls again at noon, whatever `poll_after` said.
                    noon_s = world.opens_at_s + world.draw.uniform(0.0, _NOON_SPREAD_S)
                    pause_s = min(pause_s, max(0.0, noon_s - answer.answered_s))
            if world.is_over:
                self._note(ticket, rank, waited_s, None)
                return False
            left_s = world.ends_at_s - time.time()
            gevent.sleep(max(_POLL_LEAST_S, min(_POLL_MOST_S, pause_s, left_s)))
        return False

    def _note(
        self, ticket: Document, rank: str | None, waited_s: float | None, called_s: float | None
    ) -> None:
        kind, number = ticket["kind"], ticket["number"]
        self._world.evidence.add(Turn(self._plan.candidate, kind, rank, number, waited_s, called_s))

    def _claim(self, ticket: Document) -> Answer | None:
        """Claim the pass; None when the service could not be reached often enough."""
        world, candidate = self._world, self._plan.candidate
        claiming = UNSENT.claim_place(self._exam, candidate=candidate, ticket=ticket["ticket"])
        answer = None
        for _ in range(BUSY_RETRIES_MAX):
            answer = world.frontend.send("claim", claiming)
            # Another process may show the document of a second ago.
            if not answer.is_busy and answer.slug != _NOT_YET:
                break
            world.back_off(answer)
        if answer is not None and answer.is_ok:
            world.evidence.add(Claimed(candidate, ticket["kind"], answer.answered_s))
            if self._plan.presses_twice:
                again = world.frontend.send("claim", claiming)
                if again.is_ok:
                    is_same = again.document == answer.document
                    world.evidence.add(Repeated("a second claim", is_same))
        return answer

    def _cheat(self, ticket: Document) -> None:
        """Try once what is not allowed; whatever is answered is noted for the checks."""
        cheat, world, text = self._plan.cheat, self._world, ticket["ticket"]
        if self._has_cheated:
            return
        self._has_cheated = True
        if cheat is Cheat.EARLY_CLAIM and ticket["kind"] == DRAW and ticket["rank"] is None:
            # Noon must not pass during the claim: the turn might come then.
            if time.time() < world.opens_at_s - _CLEARLY_BEFORE_S:
                self._try(cheat, text, (_NOT_YET,))
        elif cheat is Cheat.FORGED_TICKET:
            self._try(cheat, _forged(text), ("ticket-invalid",))
        elif cheat is Cheat.FOREIGN_TICKET:
            others = [other for other in world.own_tickets if other != text]
            if others:
                self._try(cheat, others[0], ("ticket-invalid",))

    def _try(self, cheat: Cheat, ticket: str, expected: tuple[str, ...]) -> None:
        claiming = UNSENT.claim_place(self._exam, candidate=self._plan.candidate, ticket=ticket)
        answer = self._world.frontend.send("cheat", claiming)
        self._world.evidence.add(Attempt(cheat, expected, answer.status, answer.slug))

    def _until_heard(self, step: str, call: Call) -> Answer | None:
        """Send until the answer is one; None when it never is."""
        for _ in range(BUSY_RETRIES_MAX):
            answer = self._world.frontend.send(step, call)
            if not answer.is_busy:
                return answer
            if self._world.is_over:
                return None
            self._world.back_off(answer)
        return None


def _forged(text: str) -> str:
    """Return the text with one character in the middle changed."""
    at = len(text) // 2
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
