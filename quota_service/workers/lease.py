"""The lease worker: shows that a worker runs, and decides which one exports the shared gauges."""

from collections.abc import Mapping

from quota_service.ledger.leases import LEASE_S, WorkerLease

_RENEWALS_EACH = 5
"""How often the lease is renewed while it lasts: some of them may come late or fail."""


class LeaseWorker:
    """Renews the lease of the workers each round, or waits for it to end."""

    name = "lease"
    interval_s = LEASE_S / _RENEWALS_EACH

    def __init__(self, lease: WorkerLease) -> None:
        self._lease = lease

    async def run_once(self) -> Mapping[str, int]:
        """Renew the lease; returns nothing done: the next round comes after the pause."""
        await self._lease.renew()
        return {}
