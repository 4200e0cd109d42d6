"""A candidate in the waiting room: a ticket, polls of the public document, a claim, a pass.

The document is the same for all; a client compares its own rank or number with it. The rank of a
ticket of the draw is worked out from the revealed seed, as anybody can.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent

from loadtest.rush.calls import Answer
from loadtest.rush.evidence import Attempt, Claimed, Document, Repeated, Ticketed, Turn
from loadtest.rush.fairness import DRAW, rank_of
from loadtest.rush.plan import Cheat, Claiming, Plan
from loadtest.rush.world import BUSY_RETRIES_MAX, World

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


@dataclass(frozen=True, slots=True)
class Place:
    """A ticket as the candidate keeps it."""

    kind: str
    ticket: str
    rank: str | None
    number: int | None


class WaitingRoom:
    """Takes one candidate through the room, as often as needed."""

    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self._plan = plan
        self._path = f"{world.path}/waiting-room"
        self._claiming = plan.claiming
        self._has_cheated = False

    def enter(self) -> str | None:
        """Return a pass, None when the candidate went home without one."""
        for _ in range(JOINS_MAX):
            place = self._join()
            if place is None:
                return None
            self._cheat(place)
            if not self._await_turn(place) or not self._comes_to_claim():
                return None
            found = self._claim(place)
            if found is None or found.is_ok:
                return found.document["pass"] if found else None
            if found.slug not in _REJOIN:
                return None
        return None

    def leave(self) -> None:
        """Say that this candidate is finished, so that another gets the place."""
        path = f"{self._path}/claims/{self._plan.candidate}"
        self._world.frontend.call("leave room", "DELETE", path)

    def _comes_to_claim(self) -> bool:
        """Let the turn wait as the plan says; False for those who never come back."""
        grace_s, draw = self._world.options.claim_grace_s, self._world.draw
        claiming, self._claiming = self._claiming, Claiming.AT_ONCE
        if claiming is Claiming.SLOWLY:
            gevent.sleep(grace_s * draw.uniform(0.1, 0.6))
        elif claiming is Claiming.TOO_LATE:
            gevent.sleep(grace_s * draw.uniform(1.2, 1.6))
        return claiming is not Claiming.NEVER and not self._world.is_over

    def _join(self) -> Place | None:
        """Take a ticket; a candidate who presses twice has the same place both times."""
        world, candidate = self._world, self._plan.candidate
        answer = None
        for _ in range(2 if self._plan.presses_twice else 1):
            answer = self._until_heard(
                lambda: world.frontend.post("join", self._path, {"candidate": candidate})
            )
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
        return Place(told["kind"], told["ticket"], told["rank"], told["number"])

    def _await_turn(self, place: Place) -> bool:
        """Poll until the document says it is this place's turn; False when the day is over."""
        world, waited_s = self._world, None
        rank = place.rank
        for _ in range(POLLS_MAX):
            answer = world.public.get("poll", self._path)
            pause_s = world.draw.uniform(1.0, 2.0)
            if answer.is_ok:
                document = answer.document
                # The document is one for all, so a crowd that took its word would come as one.
                pause_s = document["poll_after"] * world.draw.uniform(*_OWN_JITTER)
                if place.kind == DRAW and rank is None and document["seed"] is not None:
                    seed = bytes.fromhex(document["seed"])
                    rank = rank_of(seed, world.options.exam, self._plan.candidate)
                if is_turn(document, place.kind, rank, place.number):
                    self._note(place, rank, waited_s, answer.answered_s)
                    return True
                if document["phase"] != "before":
                    waited_s = answer.sent_s
                else:
                    # Every candidate polls again at noon, whatever `poll_after` said.
                    noon_s = world.opens_at_s + world.draw.uniform(0.0, _NOON_SPREAD_S)
                    pause_s = min(pause_s, max(0.0, noon_s - answer.answered_s))
            if world.is_over:
                self._note(place, rank, waited_s, None)
                return False
            left_s = world.ends_at_s - time.time()
            gevent.sleep(max(_POLL_LEAST_S, min(_POLL_MOST_S, pause_s, left_s)))
        return False

    def _note(
        self, place: Place, rank: str | None, waited_s: float | None, called_s: float | None
    ) -> None:
        self._world.evidence.add(
            Turn(self._plan.candidate, place.kind, rank, place.number, waited_s, called_s)
        )

    def _claim(self, place: Place) -> Answer | None:
        """Claim the pass; None when the service could not be reached often enough."""
        world, candidate = self._world, self._plan.candidate
        body: Document = {"candidate": candidate, "ticket": place.ticket}
        answer = None
        for _ in range(BUSY_RETRIES_MAX):
            answer = world.frontend.post("claim", f"{self._path}/claims", body)
            # Another process may show the document of a second ago.
            if not answer.is_busy and answer.slug != _NOT_YET:
                break
            world.back_off(answer)
        if answer is not None and answer.is_ok:
            world.evidence.add(Claimed(candidate, place.kind, answer.answered_s))
            if self._plan.presses_twice:
                again = world.frontend.post("claim", f"{self._path}/claims", body)
                if again.is_ok:
                    is_same = again.document == answer.document
                    world.evidence.add(Repeated("a second claim", is_same))
        return answer

    def _cheat(self, place: Place) -> None:
        """Try once what is not allowed; whatever is answered is noted for the checks."""
        cheat, world = self._plan.cheat, self._world
        if self._has_cheated:
            return
        self._has_cheated = True
        if cheat is Cheat.EARLY_CLAIM and place.kind == DRAW and place.rank is None:
            # Noon must not pass during the claim: the turn might come then.
            if time.time() < world.opens_at_s - _CLEARLY_BEFORE_S:
                self._try(cheat, place.ticket, (_NOT_YET,))
        elif cheat is Cheat.FORGED_TICKET:
            self._try(cheat, _forged(place.ticket), ("ticket-invalid",))
        elif cheat is Cheat.FOREIGN_TICKET:
            others = [ticket for ticket in world.own_tickets if ticket != place.ticket]
            if others:
                self._try(cheat, others[0], ("ticket-invalid",))

    def _try(self, cheat: Cheat, ticket: str, expected: tuple[str, ...]) -> None:
        body: Document = {"candidate": self._plan.candidate, "ticket": ticket}
        answer = self._world.frontend.post("cheat", f"{self._path}/claims", body)
        self._world.evidence.add(Attempt(cheat, expected, answer.status, answer.slug))

    def _until_heard(self, send: Callable[[], Answer]) -> Answer | None:
        """Send until the answer is one; None when it never is."""
        for _ in range(BUSY_RETRIES_MAX):
            answer = send()
            if not answer.is_busy:
                return answer
            if self._world.is_over:
                return None
            self._world.back_off(answer)
        return None


def is_turn(document: Document, kind: str, rank: str | None, number: int | None) -> bool:
    """Return whether the public document says that a rank or a number has its turn."""
    if document["phase"] in {"before", "closed"}:
        return False
    if kind == DRAW:
        return rank is not None and rank <= document["threshold"]
    return number is not None and number <= document["serving"]


def _forged(text: str) -> str:
    """Return the text with one character in the middle changed."""
    at = len(text) // 2
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
