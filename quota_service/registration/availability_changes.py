"""What changed of an exam's availability, and what came after a state that a watcher saw last.

The states of an exam are looked at from time to time, so a seat that was taken and given back
between two looks is no change. That is why only a state that was looked at can be resumed from:
between two of them a quota may have had any value, and the next change would not correct it.
"""

from collections import deque
from dataclasses import dataclass

from quota_service.registration.availability import Availability, QuotaLeft


@dataclass(frozen=True, slots=True)
class AvailabilityChange:
    """The quotas that differ from an earlier state, as they are now; `before` None: not kept."""

    before: Availability | None
    after: Availability
    quotas: tuple[QuotaLeft, ...]


class RecentChanges:
    """The latest availability of one exam, and in which quotas the states before it differed."""

    def __init__(self, states_max: int) -> None:
        self._latest: Availability | None = None
        self._states: deque[tuple[str, frozenset[int]]] = deque(maxlen=states_max)

    @property
    def latest(self) -> Availability | None:
        """The availability seen last; None before the first."""
        return self._latest

    def advance(self, after: Availability) -> AvailabilityChange | None:
        """Take the next availability on and return how it differs.

        Returns None when nothing before can be built on: it is the first, or of another epoch, of
        an earlier version, or of another definition.
        """
        before, self._latest = self._latest, after
        changed = None if before is None else _changed(before, after)
        if before is None or changed is None:
            self._states.clear()
            self._states.append((after.state_id, frozenset()))
            return None
        if before.version == after.version:
            return AvailabilityChange(before, after, ())
        self._states.append((after.state_id, frozenset(changed)))
        return AvailabilityChange(before, after, tuple(after.quotas[i] for i in changed))

    def since(self, state_id: str) -> AvailabilityChange | None:
        """Return all that changed after a state, in one; None when the state is not remembered."""
        latest = self._latest
        changed: set[int] = set()
        for known, indexes in reversed(self._states):
            if latest is not None and known == state_id:
                quotas = tuple(latest.quotas[i] for i in sorted(changed))
                return AvailabilityChange(None, latest, quotas)
            changed |= indexes
        return None


def _changed(before: Availability, after: Availability) -> list[int] | None:
    """Return which quotas differ; None when the two are not of one history, quota by quota."""
    ours, theirs = after.quotas, before.quotas
    is_one_history = before.epoch == after.epoch and before.version <= after.version
    if not is_one_history or before.exam.revision != after.exam.revision:
        return None
    # A quota that was not read otherwise is the same object.
    return [i for i, quota in enumerate(ours) if quota is not theirs[i] and quota != theirs[i]]
