"""The crowd as locust sees it: one user a candidate, and the shape of their coming.

A user who has gone home stays as a parked greenlet, because locust would replace one that ended:
the shape's user count is thus the number of arrivals so far, which do not wait for anybody who
is slow (an open load, as a real noon is).
"""

import itertools
import time
from typing import ClassVar

from gevent.event import AsyncResult, Event
from locust import LoadTestShape, User, task
from locust.runners import Runner

from loadtest.rush.candidate import Candidate
from loadtest.rush.options import Options
from loadtest.rush.plan import plan_of
from loadtest.rush.provider import Provider
from loadtest.rush.shape import arrived
from loadtest.rush.world import World


class Opening(LoadTestShape):
    """Pre-opening, spike and tail: the arrivals up to a time from the opening (seconds)."""

    def __init__(self, options: Options, opens_at_s: float, runner: Runner) -> None:
        super().__init__()
        self.runner = runner
        self._options = options
        self._opens_at_s = opens_at_s

    def tick(self) -> tuple[int, float]:
        """Return how many users there should be, and let them all start within a second."""
        come = arrived(self._options, time.time() - self._opens_at_s)
        return come, float(max(1, come - self.get_current_user_count()))


class CrowdUser(User):
    """Lives the day of one candidate and is parked; `parts` come when the process has its world.

    It replaces FastHttpUser because all of them share one client (see `calls`).
    """

    parts: ClassVar[AsyncResult] = AsyncResult()
    _numbers = itertools.count()

    @task
    def day(self) -> None:
        """Live, whatever comes, and stay away afterwards."""
        world: World
        provider: Provider
        world, provider = self.parts.get()
        world.in_flight += 1
        try:
            number = next(self._numbers)
            worker = max(0, getattr(self.environment.runner, "worker_index", 0))
            name = f"c{worker}-{number}"
            plan = plan_of(
                name, world.options.seed, world.sessions, world.popularity, world.options.crowd
            )
            Candidate(world, provider, plan).live()
        finally:
            world.in_flight -= 1
        Event().wait()
