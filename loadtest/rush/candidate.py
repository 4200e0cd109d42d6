"""One candidate's day, from the crowd before noon to a booking, or home without one.

The order of things is that of the operating manual: wait, look, choose subjects and a list of
venues, reserve, pay, look whether it went through. Who finds everything sold out looks again for
returned seats, the day's work of all who came late.
"""

import time
from collections.abc import Sequence

import gevent

from loadtest.rush.calls import Answer
from loadtest.rush.evidence import Arrived, Attempt, Document, Done, Held, Shown
from loadtest.rush.exam import seconds
from loadtest.rush.plan import After, Cheat, Ending, Plan
from loadtest.rush.provider import FAILED, Provider
from loadtest.rush.room import WaitingRoom
from loadtest.rush.waiting_list import WaitingList
from loadtest.rush.world import BUSY_RETRIES_MAX, World
from quota_service.client.call import Call
from quota_service.client.unsent import UNSENT

LOOKS_AFTER_PAYING_MAX = 30
PASSES_MAX = 2
_COUNTDOWN_S = (1.0, 3.0)
_PASS_GONE = frozenset({"pass-expired", "pass-ended"})
_PASS_REFUSED = ("pass-invalid",)
_PASS_MISSING = ("waiting-room-pass-required",)
_KEY_REUSED = ("idempotency-key-reused",)
_LATE_S = (1.5, 4.0)


class Candidate:
    """Lives one plan."""

    def __init__(self, world: World, provider: Provider, plan: Plan) -> None:
        self._world = world
        self._provider = provider
        self._plan = plan
        self._room = WaitingRoom(world, plan) if world.options.has_room else None
        self._waiting_list = WaitingList(world, plan)
        self._pass: str | None = None
        self._orders = 0
        self._passes = 0

    def live(self) -> None:
        """Come, wait, reserve, and do with the seats what the plan says."""
        world, plan = self._world, self._plan
        world.evidence.add(Arrived(plan.candidate, time.time()))
        world.public.send("look at exam", world.look_at_exam)
        if plan.watches_only:
            self._watch()
            return
        if not self._come_in():
            return
        self._try_without_pass()
        reservation = self._find_seats()
        if reservation is not None:
            self._end(reservation)
        if self._room is not None and self._pass is not None and plan.is_done_aloud:
            self._room.leave()

    def _watch(self) -> None:
        """Look at the seats until all is over, and never order."""
        while not self._world.is_over:
            self._look()
            gevent.sleep(self._plan.patience_s * self._world.draw.uniform(0.8, 1.2))

    def _come_in(self) -> bool:
        """Wait in the room, or in the crowd before the door; False when it was for nothing."""
        world = self._world
        if self._room is not None:
            self._passes += 1
            self._pass = self._room.enter()
            return self._pass is not None
        while (left_s := world.opens_at_s - time.time()) > 0:
            gevent.sleep(min(left_s, world.draw.uniform(*_COUNTDOWN_S)))
            if left_s > _COUNTDOWN_S[1]:
                world.public.send("look at exam", world.look_at_exam)
        return not world.is_over

    def _find_seats(self) -> Document | None:
        """Order at the chosen venues, and when they are sold out wherever seats came back."""
        venues = self._plan.venues
        for attempt in range(self._plan.tries_max):
            answer = self._reserve(venues)
            if answer is None or self._world.is_over:
                return answer.document if answer is not None and answer.is_ok else None
            if answer.is_ok:
                return answer.document
            if answer.slug != "sold-out" or self._joins_list(attempt):
                return None
            if attempt == self._plan.tries_max - 1:
                return None
            found = self._look_again()
            if not found:
                return None
            venues = found
        return None

    def _joins_list(self, attempt: int) -> bool:
        """Wait in the list after the first order, if that is the plan; whether there was a wait."""
        if attempt or not (self._plan.joins_list and self._world.has_list):
            return False
        offered = self._waiting_list.wait()
        if offered is not None:
            self._end_offer(offered)
        return self._waiting_list.has_waited

    def _look(self) -> Answer:
        looking = UNSENT.get_availability(self._world.options.exam, subjects=self._plan.subjects)
        return self._world.public.send("availability", looking)

    def _look_again(self) -> tuple[str, ...]:
        """Keep looking, with patience, until some venue has every subject; its name first."""
        world = self._world
        for _ in range(self._plan.tries_max):
            gevent.sleep(self._plan.patience_s * world.draw.uniform(0.8, 1.2))
            if world.is_over:
                return ()
            seen = self._look()
            if seen.is_ok and (free := seen.document["venues_with_all"]):
                return tuple(world.draw.sample(free, min(len(free), 4)))
        return ()

    def _reserve(self, venues: tuple[str, ...]) -> Answer | None:
        """Send one order until it is answered; None when it could not be placed."""
        world, plan = self._world, self._plan
        self._look()
        world.think(0.2, 1.5)
        self._orders += 1
        key = f"{plan.candidate}-{self._orders}"
        order = self._order(venues)
        for _ in range(BUSY_RETRIES_MAX):
            answer = self._send_order(key, order)
            if answer.is_ok:
                self._repeat(key, order)
                return answer
            if answer.slug in _PASS_GONE and self._room is not None and self._passes < PASSES_MAX:
                self._passes += 1
                self._pass = self._room.enter()
                if self._pass is None:
                    return None
            elif answer.is_busy and not world.is_over:
                world.back_off(answer)
            else:
                return answer
        return None

    def _order(self, venues: tuple[str, ...]) -> Document:
        return {
            "candidate": self._plan.candidate,
            "subjects": list(self._plan.subjects),
            "venues": list(venues),
            "accepted_notice": self._world.exam["notice"]["version"],
        }

    def _send_order(self, key: str, order: Document, step: str = "reserve") -> Answer:
        reserving = UNSENT.reserve(
            self._world.options.exam, **order, idempotency_key=key, waiting_room_pass=self._pass
        )
        answer = self._world.frontend.send(step, reserving)
        if answer.is_ok:
            made = answer.document
            held = Held(key, answer.answered_s, made, order, self._pass or "")
            self._world.evidence.add(held)
            self._shown(made, answer)
        return answer

    def _repeat(self, key: str, order: Document) -> None:
        """Press the button again, as some do; some even with another wish under the same key."""
        if self._plan.presses_twice:
            self._send_order(key, order, "repeat")
        venue = self._other_venue(order["venues"])
        if self._plan.reuses_key and venue is not None:
            other = {**order, "venues": [venue]}
            answer = self._send_order(key, other, "reuse key")
            self._world.evidence.add(
                Attempt("an order under a used key", _KEY_REUSED, answer.status, answer.slug)
            )

    def _try_without_pass(self) -> None:
        """Order without a pass, or with one made up, if that is the plan."""
        tricks = {Cheat.NO_PASS: _PASS_MISSING, Cheat.FORGED_PASS: _PASS_REFUSED}
        cheat = self._plan.cheat
        if self._room is None or cheat not in tricks:
            return
        kept, self._pass = self._pass, None if cheat is Cheat.NO_PASS else "made-up"
        key = f"{self._plan.candidate}-cheat"
        answer = self._send_order(key, self._order(self._plan.venues), "cheat")
        self._world.evidence.add(Attempt(cheat, tricks[cheat], answer.status, answer.slug))
        self._pass = kept

    def _end(self, reservation: Document) -> None:
        """Do with a hold what the plan says."""
        world, ending = self._world, self._plan.ending
        world.think(0.5, 2.0)
        if ending is Ending.GIVE_BACK:
            self._give_back(reservation)
        elif ending is Ending.ABANDON:
            if world.draw.random() < 0.5:  # noqa: PLR2004  every other one has begun to pay
                self._checkout(reservation)
        elif ending is Ending.PAY_LATE:
            hold = world.exam["hold"]
            late_s = seconds(reservation["deadline"]) + hold["expiry_slack_s"] - time.time()
            after_s = max(0.0, late_s) + world.draw.uniform(*_LATE_S)
            self._provider.report(reservation, after_s=after_s)
        else:
            self._pay(reservation, ending)

    def _end_offer(self, reservation: Document) -> None:
        """Pay for an offer at once or let it go: it would be held beyond the end of the day."""
        self._world.think(0.3, 1.5)
        if self._plan.ending in {Ending.GIVE_BACK, Ending.ABANDON, Ending.PAY_LATE}:
            self._waiting_list.leave()
            return
        self._provider.report(reservation)
        self._await_booking(reservation)

    def _pay(self, reservation: Document, ending: Ending) -> None:
        self._checkout(reservation)
        self._world.think(0.3, 1.5)
        if ending is Ending.FAIL_THEN_PAY:
            self._provider.report(reservation, FAILED)
        for _ in range(2 if ending is Ending.PAY_TWICE else 1):
            self._provider.report(reservation)
        state = self._await_booking(reservation)
        if state != "confirmed" or self._world.is_over:
            return
        self._world.think(0.5, 2.0)
        if self._plan.after is After.CHANGE_VENUE:
            self._change_venue(reservation)
        elif self._plan.after is After.REFUND:
            self._ask("refund", UNSENT.refund(reservation["id"]))

    def _checkout(self, reservation: Document) -> None:
        answer = self._until_heard("checkout", UNSENT.checkout(reservation["id"]))
        if answer.is_ok:
            self._shown(answer.document, answer)

    def _await_booking(self, reservation: Document) -> str:
        """Look until the payment has gone through, within seconds and not the next day."""
        looking = UNSENT.get_reservation(reservation["id"])
        for _ in range(LOOKS_AFTER_PAYING_MAX):
            self._world.think(0.4, 1.2)
            answer = self._world.frontend.send("own reads", looking)
            if answer.is_ok and answer.document["state"] not in {"held", "confirming"}:
                return str(answer.document["state"])
        return "unknown"

    def _give_back(self, reservation: Document) -> None:
        for _ in range(2 if self._plan.presses_twice else 1):
            self._ask("release", UNSENT.release(reservation["id"]))

    def _change_venue(self, reservation: Document) -> None:
        other = self._other_venue([reservation["venue"]])
        if other is not None:
            self._ask("change", UNSENT.change_venue(reservation["id"], venue=other))

    def _ask(self, verb: str, call: Call) -> None:
        answer = self._until_heard(verb, call)
        if answer.is_ok:
            told = answer.document
            self._world.evidence.add(Done(told["id"], verb, answer.answered_s, told["venue"]))

    def _until_heard(self, step: str, call: Call) -> Answer:
        """Send a call, again while the service is busy."""
        for _ in range(BUSY_RETRIES_MAX - 1):
            answer = self._world.frontend.send(step, call)
            if not answer.is_busy:
                return answer
            self._world.back_off(answer)
        return self._world.frontend.send(step, call)

    def _shown(self, reservation: Document, answer: Answer) -> None:
        if reservation["state"] == "held" and reservation["deadline"]:
            shown = Shown(reservation["id"], answer.answered_s, reservation["deadline"])
            self._world.evidence.add(shown)

    def _other_venue(self, venues: Sequence[str]) -> str | None:
        """Return the biggest venue that is none of these, None when there is no other."""
        popularity = self._world.popularity
        others = [venue for venue in popularity if venue not in venues]
        return max(others, key=popularity.__getitem__, default=None)
