"""Which exams a round of a worker looks at: work that is due is looked for where it can be.

An exam that goes on is looked at in every round. One that is over is left alone but for a late
payment, so a few of them have their turn from time to time, all of them once in a span. Hundreds of
exams that are over cost a round as much as a handful.
"""

import time

from quota_service.registration.registry import ExamRegistry
from quota_service.seats.keys import Shard

OVER_EVERY_S = 60.0
"""The span in which each exam that is over has its turn."""

SELDOM_S = 3600.0
"""The same, for a look that costs more and finds nothing but faults."""

_TURNS_EVERY_S = 1.0


class Schedule:
    """The turns of one worker. The first round looks at everything."""

    def __init__(self, registry: ExamRegistry, over_every_s: float = OVER_EVERY_S) -> None:
        self._registry = registry
        self._over_every_s = over_every_s
        self._last_turns_s: float | None = None
        self._owed = 0.0
        self._last = ""

    def exams(self) -> list[str]:
        """Return the exams that go on, and those that are over and have their turn now."""
        progress = self._registry.progress()
        return [*progress.going_on, *self.over()]

    def over(self) -> list[str]:
        """Return the exams that are over and have their turn now."""
        return self._turns(self._registry.progress().over)

    def shards(self) -> list[Shard]:
        """Return the open shards of all that `exams` returns, and of exams that are not loaded."""
        progress = self._registry.progress()
        return self._registry.open_shards_of([*progress.watched, *self.over()])

    def _turns(self, over: tuple[str, ...]) -> list[str]:
        now_s = time.monotonic()
        if self._last_turns_s is None:
            self._last_turns_s = now_s
            return list(over)
        elapsed_s = now_s - self._last_turns_s
        if elapsed_s < _TURNS_EVERY_S or not over:
            return []
        self._last_turns_s = now_s
        self._owed = min(self._owed + len(over) * elapsed_s / self._over_every_s, len(over))
        count = int(self._owed)
        self._owed -= count
        # Exams come and go: the next ones are those behind the last one, by id.
        start = next((i for i, exam in enumerate(over) if exam > self._last), 0)
        turns = [over[(start + i) % len(over)] for i in range(count)]
        if turns:
            self._last = turns[-1]
        return turns
