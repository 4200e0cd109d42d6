"""A sweeper is stopped between what it read and what it does, and continued when all has changed.

Each runs as a process of its own that is stopped with SIGSTOP; whatever the others did meanwhile,
it gives nothing back twice and takes nothing from anybody.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.confirm import confirm
from quota_service.registration.refund import refund
from quota_service.settings import Settings, environment_of, variable
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.recovery import RecoveryWorker
from tests.support.bookings import book, left
from tests.support.lost_shards import check_after, drain, rows
from tests.support.patience import LIMIT_S, PATIENT
from tests.support.records import move_due
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold, payment, state
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
_TOLD = {variable(name) for name in ("redis_url", "postgres_dsn", "recovery_age_s", *PATIENT)}


@asynccontextmanager
async def stopped(settings: Settings, name: str) -> AsyncIterator[dict[str, Any]]:
    """A sweeper that stands still; after the block it goes on, and what it did is in the dict."""
    told = {name: text for name, text in environment_of(settings).items() if name in _TOLD}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.sweeper", name),
        cwd=ROOT,
        env={**os.environ, **told},
        stdout=asyncio.subprocess.PIPE,
    )

    async def is_stopped() -> bool:
        assert process.returncode is None
        return await asyncio.to_thread(_is_stopped, process.pid)

    did: dict[str, Any] = {}
    try:
        await eventually(is_stopped, within_s=LIMIT_S)
        yield did
        process.send_signal(signal.SIGCONT)
        answer, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
        assert process.returncode == 0
        did.update(json.loads(answer))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _is_stopped(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return status.rpartition(")")[2].split()[0] == "T"


async def times(service: Service, verb: str, reservation: Reservation) -> int:
    """Return how often a reservation took a step."""
    await drain(service)
    query = "SELECT count(*) FROM journal WHERE verb = $1 AND subject = $2"
    ((count,),) = await rows(service, query, verb, reservation.id.rpartition(".")[2])
    return int(count)


async def with_attempt(service: Service, reservation: Reservation) -> None:
    """Let the payment of a hold die with its attempt set."""
    with pytest.raises(DiedError):
        await confirm(
            dying(service.stores, "confirm: after attempt").payments, payment(reservation, "lost")
        )


async def test_a_stopped_expiry_goes_on_when_its_holds_are_expired_and_taken_by_others(
    service: Service,
) -> None:
    due = [await hold(service, f"candidate-{n}") for n in range(3)]
    for each in due:
        await move_due(redis_of(service), *service.stores.registry.locate(each.id))

    async with stopped(service.settings, "expiry") as did:
        other = await ExpiryWorker(service.stores, service.settings).run_once()
        taken = [await hold(service, f"other-{n}") for n in range(3)]

    assert (other["expired"], did["expired"]) == (3, 0)
    assert [await state(service, each) for each in taken] == [State.HELD] * 3
    assert await left(service, "jinan/general") == 0
    assert [await times(service, "expire", each) for each in due] == [1] * 3
    await check_after(service, booked=0)


async def test_a_stopped_expiry_takes_nothing_from_one_who_paid_meanwhile(
    service: Service,
) -> None:
    late, unpaid = [await hold(service, f"candidate-{n}") for n in range(2)]
    for each in (late, unpaid):
        await move_due(redis_of(service), *service.stores.registry.locate(each.id))

    async with stopped(service.settings, "expiry") as did:
        paid = await confirm(service.stores.payments, payment(late))

    assert paid.outcome is PaymentOutcome.CONFIRMED
    assert did["expired"] == 1
    assert (await state(service, late), await state(service, unpaid)) == (
        State.CONFIRMED,
        State.EXPIRED,
    )
    await check_after(service, booked=1)


@pytest.mark.parametrize("line", ["recovery", "abandon_payment"])
async def test_a_stopped_recovery_abandons_nothing_that_was_paid_meanwhile(
    service: Service, line: str
) -> None:
    held = await hold(service)
    await with_attempt(service, held)

    async with stopped(service.settings, line):
        await RecoveryWorker(service.stores.payments, service.settings).run_once()
        paid = await confirm(service.stores.payments, payment(held))

    assert paid.outcome is PaymentOutcome.CONFIRMED
    assert await state(service, held) is State.CONFIRMED
    assert await times(service, "unpin", held) == 1
    await check_after(service, booked=1)


@pytest.mark.parametrize("line", ["recovery", "abandon_payment"])
async def test_a_stopped_recovery_leaves_the_attempt_of_the_next_payment_alone(
    service: Service, line: str
) -> None:
    held = await hold(service)
    await with_attempt(service, held)

    async with stopped(service.settings, line):
        await RecoveryWorker(service.stores.payments, service.settings).run_once()
        await with_attempt(service, held)

    assert await state(service, held) is State.CONFIRMING
    assert await times(service, "unpin", held) == 1
    paid = await confirm(service.stores.payments, payment(held))
    assert paid.outcome is PaymentOutcome.CONFIRMED
    await check_after(service, booked=1)


async def test_a_stopped_recovery_returns_the_seats_of_a_refund_once(service: Service) -> None:
    booked = await book(service, "candidate-1", "beijing")
    with pytest.raises(DiedError):
        await refund(dying(service.stores, "refund: after commit").payments, booked.id)

    async with stopped(service.settings, "refunds"):
        await RecoveryWorker(service.stores.payments, service.settings).run_once()
        again = await book(service, "candidate-2", "beijing")

    assert await state(service, again) is State.CONFIRMED
    assert await left(service, "beijing/general") == 0
    assert await times(service, "refund", booked) == 1
    await check_after(service, booked=1)
