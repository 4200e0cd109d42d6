"""Runs one round of a worker in a process of its own that stops itself in the middle of it.

Called as `python -m tests.support.sweeper WORKER` with settings in the environment. Between what
the worker reads and what it does about it, the process stops with SIGSTOP; continued, it does the
rest of its round, as a machine does that hung. Then it prints what it did, as JSON.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.ledger.admission import AdmissionLedger
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.seats.store import SeatStore
from quota_service.settings import read_settings
from quota_service.workers.admission import AdmissionWorker
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.recovery import RecoveryWorker

STOPS: dict[str, tuple[type[Any], str, type[Any], str]] = {
    "expiry": (ExpiryWorker, "maintenance", SeatStore, "expire"),
    "recovery": (RecoveryWorker, "payments", ConfirmationLedger, "decide_attempts"),
    "abandon_payment": (RecoveryWorker, "payments", SeatStore, "abandon_payment"),
    "admission": (AdmissionWorker, "waiting_room", AdmissionLedger, "step"),
    "refunds": (RecoveryWorker, "payments", SeatStore, "refund"),
}
"""The worker, its part of the stores, and the method before which it stops."""


def stopping(real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return a method that stops the process before it does its work."""

    async def stopped(*args: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return await real(*args, **options)

    return stopped


async def sweep(name: str) -> None:
    """Do one round, stopped in the middle of it."""
    worker, part, owner, method = STOPS[name]
    async with open_service(read_settings()) as service:
        await refresh_memory(service)
        setattr(owner, method, stopping(getattr(owner, method)))
        stores = getattr(service.stores, part)
        print(json.dumps(await worker(stores, service.settings).run_once()))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(sweep(sys.argv[1]))
