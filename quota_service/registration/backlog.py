"""The backlog: what waits in Redis for a worker or for Postgres, and when it is enough.

Without Postgres, seats are still held and payments wait in Redis, for a while. Beyond a bound no
new seats are held: payments that could not be recorded, and steps that are in Redis alone, must
not pile up without an end. When Postgres is back the workers bring the backlog down, and reserving
goes on.

Every process exports the ages of the oldest waiting entries, and which exams are fenced, API
processes included: while no worker runs, only they can.
"""

from quota_service.domain.errors import LedgerUnavailable, NotReady, SeatsUnavailable
from quota_service.observability.metrics import Metrics
from quota_service.registration.registry import ExamRegistry
from quota_service.seats.keys import Shard
from quota_service.seats.store import SeatStore


class Backlog:
    """Which shards have too much waiting, as it was at the last look."""

    def __init__(
        self,
        seats: SeatStore,
        registry: ExamRegistry,
        metrics: Metrics,
        *,
        payments_pending_max: int,
        journal_max: int,
    ) -> None:
        self._seats = seats
        self._registry = registry
        self._gauges = metrics.oldest_ages
        self._fenced = metrics.shards_fenced
        self._payments_pending_max = payments_pending_max
        self._journal_max = journal_max
        self._full: frozenset[str] = frozenset()
        self._told: frozenset[tuple[str, str]] = frozenset()
        self._watched: frozenset[str] = frozenset()

    async def refresh(self) -> None:
        """Look at every exam that goes on; what is known of one stays while its server is away.

        SeatsUnavailable is raised at the end when that was so for one.
        """
        full: set[str] = set()
        away: SeatsUnavailable | None = None
        oldest_ms: dict[tuple[str, str], int] = {}
        watched = self._registry.progress().watched
        fenced = set(watched)
        for shard in self._registry.open_shards_of(watched):
            try:
                waiting = await self._seats.waiting(shard)
            except NotReady:
                continue  # a worker recovers it; the others are looked at
            except SeatsUnavailable as error:
                away = error
                full |= self._full & {shard.tag}
                continue
            fenced.discard(shard.exam)
            if (
                waiting.attempts > self._payments_pending_max
                or waiting.journal_entries > self._journal_max
            ):
                full.add(shard.tag)
            oldest_ms |= {(shard.exam, kind): age for kind, age in waiting.oldest_ms.items()}
        self._full = frozenset(full)
        self._tell_fenced(frozenset(watched), fenced)
        for exam, kind in self._told - oldest_ms.keys():
            if not self._registry.is_archived(exam):  # an archived one has no gauges
                self._gauges[kind].labels(exam=exam).set(0)
        for (exam, kind), age_ms in oldest_ms.items():
            self._gauges[kind].labels(exam=exam).set(age_ms / 1000)
        self._told = frozenset(oldest_ms)
        if away is not None:
            raise away

    def _tell_fenced(self, watched: frozenset[str], fenced: set[str]) -> None:
        for exam in self._watched - watched:
            self._fenced.remove_by_labels({"exam": exam})
        for exam in watched:
            if not self._registry.is_archived(exam):  # an archived exam has no gauges
                self._fenced.labels(exam=exam).set(exam in fenced)
        self._watched = watched

    def check(self, shard: Shard) -> None:
        """Raise LedgerUnavailable when the shard is to take no more before Postgres is back."""
        if shard.tag in self._full:
            raise LedgerUnavailable("too many entries wait for Postgres; no new holds for now")
