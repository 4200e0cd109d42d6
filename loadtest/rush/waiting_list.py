"""A candidate in the waiting list: joins where all is sold out, looks, is offered seats or not."""

import time

import gevent

from loadtest.rush.calls import Answer
from loadtest.rush.evidence import Document, LeftList, Listed, Offered
from loadtest.rush.plan import Plan
from loadtest.rush.world import BUSY_RETRIES_MAX, World


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
        while not self._world.is_over:
            gevent.sleep(self._plan.patience_s * self._world.draw.uniform(0.8, 1.2))
            looked = self._world.frontend.get("look at list", self._path)
            if looked.is_ok and looked.document["state"] != "waiting":
                return self._offered(looked)
        self.leave()
        return None

    def leave(self) -> None:
        """Leave the list, or give the offer back."""
        world = self._world
        world.evidence.add(LeftList(self._entry, time.time()))
        for _ in range(BUSY_RETRIES_MAX):
            answer = world.frontend.call("leave list", "DELETE", self._path)
            if not answer.is_busy:
                break
            world.back_off(answer)

    @property
    def _path(self) -> str:
        return f"{self._world.path}/waiting-list/{self._entry}"

    def _join(self) -> bool:
        world, plan = self._world, self._plan
        wish = {
            "candidate": plan.candidate,
            "subjects": list(plan.subjects),
            "venues": list(plan.venues),
        }
        path, key = f"{world.path}/waiting-list", f"{plan.candidate}-list"
        for _ in range(BUSY_RETRIES_MAX):
            answer = world.frontend.post("join list", path, wish, Idempotency_Key=key)
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
        found = self._world.frontend.get("own reads", f"/v1/reservations/{offer['reservation']}")
        return found.document if found.is_ok and found.document["state"] == "held" else None
