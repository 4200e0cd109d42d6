"""How many of those who were admitted come: no-shows must not keep places from those who wait.

A place is kept for each candidate who was just admitted and has not claimed yet. Where only a
part of those admitted ever claims, as when a crowd of made-up candidates is in the draw, that would
admit one full house a claim window, nearly all of it no-shows. So only as many places are set aside
as people are likely to come, by what was seen of those admitted lately.

It errs towards expecting more than will come: the share is taken three deviations above what was
seen, who was admitted counts as a no-show only bit by bit in the second half of the window, and
a candidate counts at least a twentieth. With few observations each counts in full.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

_WINDOWS_SEEN = 5
"""Claim windows that are looked back on: the crowd of the queue is not that of the draw."""
_SHARE_LEAST = 0.05
_DEVIATIONS = 3


@dataclass(slots=True)
class _Step:
    """People who were admitted at once, and how many of them have not come, as far as is known."""

    at_s: float
    people: float
    unclaimed: float


@dataclass(slots=True)
class Turnout:
    """Candidates admitted lately, step by step, and how many of them claimed; times in seconds.

    `claims` is a count of all claims there ever were. A claim is not matched to a candidate: it
    is taken to be of the first admitted of those who are still expected.
    """

    window_s: float
    claims: int = 0
    steps: deque[_Step] = field(default_factory=deque)

    def note(self, now_s: float, people: float, claims: int) -> None:
        """Remember a step, and how many claims there were before it."""
        self._see(now_s, claims)
        self.steps.append(_Step(now_s, people, people))

    def pause(self, now_s: float) -> None:
        """Keep expecting those who may still claim after a pause of any length."""
        waiting = sum(step.unclaimed for step in self._expected(now_s))
        self.steps = deque([_Step(now_s, waiting, waiting)])

    def coming(self, now_s: float, claims: int) -> float:
        """Return how many of those admitted within the window are likely to claim yet."""
        share = self.share(now_s, claims)
        return share * sum(step.unclaimed for step in self._expected(now_s))

    def share(self, now_s: float, claims: int) -> float:
        """Return the share of those admitted who are expected to claim, from 0.05 to 1."""
        self._see(now_s, claims)
        seen = sum(step.people * self._had_time(now_s - step.at_s) for step in self.steps)
        if seen <= 0:
            return 1.0
        came = sum(step.people - step.unclaimed for step in self.steps)
        likely = came + _DEVIATIONS * math.sqrt(came) + _DEVIATIONS
        return min(max(likely / seen, _SHARE_LEAST), 1.0)

    def _see(self, now_s: float, claims: int) -> None:
        """Take the claims that are new for those who are expected, oldest first."""
        while self.steps and now_s - self.steps[0].at_s > _WINDOWS_SEEN * self.window_s:
            self.steps.popleft()
        if claims < self.claims:
            self.steps.clear()  # the count was lost with Redis and says nothing
        new, self.claims = float(claims - self.claims), claims
        for step in self._expected(now_s):
            came = min(new, step.unclaimed)
            step.unclaimed -= came
            new -= came

    def _expected(self, now_s: float) -> Iterator[_Step]:
        """Yield the steps whose people may still come."""
        return (step for step in self.steps if now_s - step.at_s <= self.window_s)

    def _had_time(self, age_s: float) -> float:
        """Return to what share a candidate admitted so long ago counts as a no-show."""
        half_s = self.window_s / 2
        return min(max((age_s - half_s) / half_s, 0.0), 1.0) if half_s > 0 else 1.0
