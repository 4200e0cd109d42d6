"""Shared by all of the simulation: the exam as the service answered it, clocks and callers."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import gevent

from loadtest.rush.calls import Answer, Caller
from loadtest.rush.evidence import Document, Evidence
from loadtest.rush.exam import seconds
from loadtest.rush.options import Options
from quota_service.client.call import Call
from quota_service.client.unsent import UNSENT

BUSY_RETRIES_MAX = 8
_BUSY_PAUSE_MAX_S = 10.0


@dataclass(slots=True)
class World:
    """One process's view of the run. `public` calls without a key, `frontend` with one."""

    options: Options
    exam: Document
    evidence: Evidence
    frontend: Caller
    public: Caller
    draw: random.Random
    sessions: Mapping[str, Sequence[str]]
    """The subjects of each session."""
    popularity: Mapping[str, float]
    """The venues, and how many candidates would go there first, compared with the others."""
    in_flight: int = 0
    own_tickets: list[str] = field(default_factory=list)
    """A few tickets of candidates, for those who try the ticket of another."""

    @property
    def opens_at_s(self) -> float:
        """When registration opens, seconds since the epoch."""
        return seconds(self.exam["registration"]["opens_at"])

    @property
    def ends_at_s(self) -> float:
        """When no candidate begins anything new."""
        return self.opens_at_s + self.options.open_s

    @property
    def is_over(self) -> bool:
        """Whether the candidates go home."""
        return time.time() >= self.ends_at_s

    @property
    def look_at_exam(self) -> Call:
        """The call that reads the exam."""
        return UNSENT.get_exam(self.options.exam)

    @property
    def has_list(self) -> bool:
        """Whether who finds no seat can wait for one."""
        return self.exam.get("waiting_list") is not None

    def think(self, least_s: float, most_s: float) -> None:
        """Pass some time, as people do; never beyond the end by more than `most_s`."""
        gevent.sleep(self.draw.uniform(least_s, most_s))

    def sleep_until(self, at_s: float) -> None:
        """Sleep until a time, or not at all."""
        gevent.sleep(max(0.0, at_s - time.time()))

    def back_off(self, answer: Answer) -> None:
        """Wait as a busy service asked, and a little more by chance."""
        gevent.sleep(min(_BUSY_PAUSE_MAX_S, answer.retry_after_s) * self.draw.uniform(1.0, 1.5))
