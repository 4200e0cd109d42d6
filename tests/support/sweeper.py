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

from quota_service.app import open_service, refresh_memory
from quota_service.ledger.admission import AdmissionLedger
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.seats.store import SeatStore
from quota_service.settings import read_settings
from quota_service.workers.admission import AdmissionWorker
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.recovery import RecoveryWorker

STOPS: dict[str, tuple[type[Any], type[Any], str]] = {
    "expiry": (ExpiryWorker, SeatStore, "expire"),
    "recovery": (RecoveryWorker, ConfirmationLedger, "settle_pins"),
    "unpin": (RecoveryWorker, SeatStore, "unpin"),
    "admission": (AdmissionWorker, AdmissionLedger, "step"),
    "refunds": (RecoveryWorker, SeatStore, "refund"),
}
"""The worker, and the method before which it stops."""


def stopping(real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return a method that stops the process before it does its work."""

    async def stopped(*args: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return await real(*args, **options)

    return stopped


async def sweep(name: str) -> None:
    """Do one round, stopped in the middle of it."""
    worker, owner, method = STOPS[name]
    async with open_service(read_settings()) as service:
        await refresh_memory(service)
        setattr(owner, method, stopping(getattr(owner, method)))
        print(json.dumps(await worker(service.stores, service.settings).run_once()))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(sweep(sys.argv[1]))
