"""A candidate in the waiting list: joins where all is sold out, looks, is offered seats or not."""

import time

import gevent

from loadtest.rush.calls import Answer
from loadtest.rush.evidence import Document, LeftList, Listed, Offered
from loadtest.rush.plan import Plan
from loadtest.rush.world import BUSY_RETRIES_MAX, World
from quota_service.client.unsent import UNSENT


class WaitingList:
    """One place in the list; `has_waited` once there was one."""

    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self._plan = plan
        self._entry = ""

    @property
    def has_waited(self) -> bool:
        """Whether the candidate has joined."""
        return bool(self._entry)

    def wait(self) -> Document | None:
        """Join and wait until the day is over; return the hold of the offer, None without one."""
        if not self._join():
            return None
        looking = UNSENT.get_waiting_list_entry(self._world.options.exam, self._entry)
        while not self._world.is_over:
            gevent.sleep(self._plan.patience_s * self._world.draw.uniform(0.8, 1.2))
            looked = self._world.frontend.send("look at list", looking)
            if looked.is_ok and looked.document["state"] != "waiting":
                return self._offered(looked)
        self.leave()
        return None

    def leave(self) -> None:
        """Leave the list, or give the offer back."""
        world = self._world
        world.evidence.add(LeftList(self._entry, time.time()))
        leaving = UNSENT.leave_waiting_list(world.options.exam, self._entry)
        for _ in range(BUSY_RETRIES_MAX):
            answer = world.frontend.send("leave list", leaving)
            if not answer.is_busy:
                break
            world.back_off(answer)

    def _join(self) -> bool:
        world, plan = self._world, self._plan
        joining = UNSENT.join_waiting_list(
            world.options.exam,
            candidate=plan.candidate,
            subjects=plan.subjects,
            venues=plan.venues,
            idempotency_key=f"{plan.candidate}-list",
        )
        for _ in range(BUSY_RETRIES_MAX):
            answer = world.frontend.send("join list", joining)
            if answer.is_ok:
                self._entry = answer.document["id"]
                world.evidence.add(Listed(answer.answered_s, answer.document))
                return True
            if not answer.is_busy or world.is_over:
                return False
            world.back_off(answer)
        return False

    def _offered(self, looked: Answer) -> Document | None:
        """Note an offer and return its hold; None where it has ended meanwhile."""
        offer = looked.document["offer"]
        if offer is None:
            return None
        self._world.evidence.add(Offered(self._entry, offer["reservation"], looked.answered_s))
        looking = UNSENT.get_reservation(offer["reservation"])
        found = self._world.frontend.send("own reads", looking)
        return found.document if found.is_ok and found.document["state"] == "held" else None
