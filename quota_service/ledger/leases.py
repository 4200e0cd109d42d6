"""The lease of the workers: one worker process holds it, and it shows that a worker runs.

The holder exports what only one may, such as the seats of every quota. While no worker renews the
lease no worker runs, which the API processes see and warn of.
"""

import datetime as dt
import secrets

from quota_service.ledger.pool import Ledger

LEASE_S = 10.0
"""How long the lease lasts that is not renewed: after that another worker takes it."""
_TAKEN_OVER_WITHIN_S = 5.0
"""How long after its end another worker may take to see it; then none runs."""
_NAME = "worker"


class WorkerLease:
    """One process's view of the lease. All methods raise LedgerUnavailable."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._holder = secrets.token_hex(8)
        self._is_held = False

    @property
    def is_held(self) -> bool:
        """Whether this process held the lease when it last asked.

        It goes on when Postgres is away: no other process can take the lease then.
        """
        return self._is_held

    async def renew(self) -> None:
        """Take or renew the lease, unless another process has it."""
        lease = dt.timedelta(seconds=LEASE_S)
        self._is_held = bool(await self._ledger.fetch("take_lease", _NAME, self._holder, lease))

    async def end(self) -> None:
        """End the lease if this process has it, so that another worker takes it at once."""
        self._is_held = False
        await self._ledger.fetch("end_lease", _NAME, self._holder)

    async def warning(self) -> dict[str, str]:
        """Return {"worker": that none runs}; nothing when one does."""
        rows = await self._ledger.fetch("select_lease", _NAME)
        ended_s = rows[0]["ended_s"] if rows else None
        if ended_s is not None and ended_s < _TAKEN_OVER_WITHIN_S:
            return {}
        since = "yet" if ended_s is None else f"for {ended_s:.0f} s"
        return {
            "worker": f"no worker has run {since}: holds do not expire, journals are not drained; "
            "start `quota-service worker`"
        }
