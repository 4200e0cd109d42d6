"""The clock of the host is wrong by five minutes: no deadline, window or expiry moves.

Redis's clock is the only one that decides, so the Python process may believe what it likes.
"""

import dataclasses
import datetime as dt
import math
import time
from collections.abc import Awaitable, Iterator
from types import SimpleNamespace

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import (
    QuotaError,
    RefundClosed,
    RefundNotOpen,
    RegistrationClosed,
    RegistrationNotOpen,
)
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import State
from quota_service.ledger import recoveries
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.refund import refund
from quota_service.registration.release import checkout
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.recovery import RecoveryWorker
from tests.conftest import Running
from tests.support import client
from tests.support.bookings import book
from tests.support.exams import make_exam
from tests.support.lost_shards import check_after, drain, lose_everything, recover_shards
from tests.support.records import move_due, redis_now_ms
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold, payment, state

WRONG_S = [-300, 300]
NEAR_S = 120
"""A window's edge nearer than the clock is wrong."""


class WrongDateTime(dt.datetime):
    """The `datetime` of a host whose clock is wrong: it follows `time.time`."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "WrongDateTime":
        return cls.fromtimestamp(time.time(), tz)


@pytest.fixture(params=WRONG_S)
def wrong_by_s(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let the clock of this process be wrong, from here on, by so many seconds."""
    real, wrong_s = time.time, int(request.param)
    monkeypatch.setattr(time, "time", lambda: real() + wrong_s)
    wrong = type("datetime", (), {**vars(dt), "datetime": WrongDateTime})
    monkeypatch.setattr(recoveries, "dt", wrong)
    yield wrong_s
    assert abs(time.time() - real()) > NEAR_S


async def test_deadlines_are_by_the_clock_of_redis(service: Service, wrong_by_s: int) -> None:
    before_ms = await redis_now_ms(redis_of(service))
    held = await hold(service)
    moved = await checkout(service.stores, held.id)
    after_ms = await redis_now_ms(redis_of(service))

    assert wrong_by_s
    assert before_ms + 900_000 <= held.deadline_ms <= after_ms + 900_000
    assert moved.deadline_ms == held.deadline_ms + 600_000


async def test_nothing_expires_early_or_late(service: Service, wrong_by_s: int) -> None:
    fresh, due = await hold(service, "fresh"), await hold(service, "due")
    await move_due(redis_of(service), *service.stores.registry.locate(fresh.id), ago_ms=-60_000)
    await move_due(redis_of(service), *service.stores.registry.locate(due.id), ago_ms=1)

    shard, serial = service.stores.registry.locate(fresh.id)
    asked_early, _ = await service.stores.seats.expire(shard, [serial])
    done = await ExpiryWorker(service.stores, service.settings).run_once()

    assert wrong_by_s
    assert (asked_early, done["expired"]) == (0, 1)
    assert (await state(service, fresh), await state(service, due)) == (State.HELD, State.EXPIRED)


@pytest.mark.parametrize(
    ("window_s", "refusals"),
    [
        ((NEAR_S, 3600), (RegistrationNotOpen, RefundNotOpen)),
        ((-3600, -NEAR_S), (RegistrationClosed, RefundClosed)),
        ((-NEAR_S, NEAR_S), (None, None)),
    ],
)
async def test_windows_open_and_close_by_the_clock_of_redis(
    service: Service,
    wrong_by_s: int,
    window_s: tuple[float, float],
    refusals: tuple[type[QuotaError] | None, type[QuotaError] | None],
) -> None:
    booked = await book(service, "booked")
    # The exam is made by the wrong clock.
    opens_in_s, closes_in_s = (edge_s - wrong_by_s for edge_s in window_s)
    exam = make_exam(opens_in_s=opens_in_s, closes_in_s=closes_in_s)
    await import_exam(service.stores.maintenance, exam)

    async def end(call: Awaitable[object]) -> type[BaseException] | None:
        try:
            await call
        except QuotaError as refused:
            return type(refused)
        return None

    ends = [
        await end(hold(service, "candidate-2")),
        await end(change_venue(service.stores.payments, booked.id, "tianjin")),
        await end(refund(service.stores.payments, booked.id)),
    ]

    registration, refunding = refusals
    assert ends == [registration, registration, refunding]


async def test_attempts_are_taken_over_by_their_age_in_redis(
    service: Service, wrong_by_s: int
) -> None:
    held = await hold(service)
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after attempt").payments, payment(held))
    patient = dataclasses.replace(service.settings, recovery_age_s=60)

    early = await RecoveryWorker(service.stores.payments, patient).run_once()
    at_once = await RecoveryWorker(service.stores.payments, service.settings).run_once()

    assert wrong_by_s
    assert (early["abandoned"], at_once["abandoned"]) == (0, 1)
    assert await state(service, held) is State.HELD


async def test_a_rebuild_brings_the_same_deadlines_and_ended_records_back(
    service: Service, wrong_by_s: int
) -> None:
    held, ended = await hold(service, "held"), await hold(service, "ended")
    await move_due(redis_of(service), *service.stores.registry.locate(ended.id), ago_ms=1)
    await ExpiryWorker(service.stores, service.settings).run_once()
    await drain(service)
    await lose_everything(service)

    await recover_shards(service)
    again = await service.stores.seats.read(*service.stores.registry.locate(held.id))

    assert wrong_by_s
    assert again == held
    assert await state(service, ended) is State.EXPIRED
    late = await confirm(service.stores.payments, payment(ended))
    assert late.outcome is PaymentOutcome.CONFIRMED
    await check_after(service, booked=1)


async def test_the_time_told_to_clients_is_redis_s(running: Running, wrong_by_s: int) -> None:
    await running.service.health.refresh()

    told = (await running.client.get("/v1/exams/exam-1")).json["server_time"]

    told_ms = dt.datetime.fromisoformat(told).timestamp() * 1000
    assert wrong_by_s
    assert abs(told_ms - await redis_now_ms(redis_of(running.service))) < 10_000


async def test_a_callback_of_two_seconds_ago_is_taken_whatever_the_host_believes(
    running: Running, wrong_by_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = (await running.client.reserve()).json
    await running.service.health.refresh()
    late_s = math.copysign(2, wrong_by_s)
    provider = SimpleNamespace(time=lambda: time.time() - wrong_by_s - late_s)
    monkeypatch.setattr(client, "time", provider)

    paid = await running.client.pay(held)

    assert paid.status == 200
