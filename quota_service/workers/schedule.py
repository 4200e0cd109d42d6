"""The exams that a round of a worker visits.

An exam that goes on is visited in every round. One that is over has no work but late payments, so
each is visited once in a span, a few in a round. Hundreds of exams that are over cost a round as
much as a handful.
"""

import time

from quota_service.registration.registry import ExamRegistry
from quota_service.seats.keys import Shard

OVER_EVERY_S = 60.0
"""The span in which each exam that is over is visited once."""

SELDOM_S = 3600.0
"""The same, for a visit that costs more and finds nothing but faults."""

_VISITS_EVERY_S = 1.0


class Schedule:
    """Which exams a round of one worker visits. The first round visits every exam."""

    def __init__(self, registry: ExamRegistry, over_every_s: float = OVER_EVERY_S) -> None:
        self._registry = registry
        self._over_every_s = over_every_s
        self._last_visits_s: float | None = None
        self._owed = 0.0
        self._last = ""

    def exams(self) -> list[str]:
        """Return the exams that go on, and those over that are due for a visit."""
        progress = self._registry.progress()
        return [*progress.going_on, *self.over()]

    def over(self) -> list[str]:
        """Return the exams that are over and due for a visit."""
        return self._due(self._registry.progress().over)

    def shards(self) -> list[Shard]:
        """Return the open shards of all that `exams` returns, and of exams that are not loaded."""
        progress = self._registry.progress()
        return self._registry.open_shards_of([*progress.watched, *self.over()])

    def _due(self, over: tuple[str, ...]) -> list[str]:
        now_s = time.monotonic()
        if self._last_visits_s is None:
            self._last_visits_s = now_s
            return list(over)
        elapsed_s = now_s - self._last_visits_s
        if elapsed_s < _VISITS_EVERY_S or not over:
            return []
        self._last_visits_s = now_s
        self._owed = min(self._owed + len(over) * elapsed_s / self._over_every_s, len(over))
        count = int(self._owed)
        self._owed -= count
        # Exams come and go: the next ones are those behind the last one, by id.
        start = next((i for i, exam in enumerate(over) if exam > self._last), 0)
        due = [over[(start + i) % len(over)] for i in range(count)]
        if due:
            self._last = due[-1]
        return due
