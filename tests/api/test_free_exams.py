"""A fee of 0: the call that reserves books, and nothing is ever due back."""

import asyncio
from typing import Any

import pytest

from quota_service.domain.errors import LedgerUnavailable
from quota_service.domain.payment import PaymentOutcome
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.registration.audit import audit
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.records import move_due_into_the_past
from tests.support.redis_clients import redis_of
from tests.support.refusals import assert_refused


@pytest.fixture
async def free(running: Running) -> Running:
    """A service with an exam that costs nothing, beside the other."""
    definition = exam_definition("free", seats={"jinan": {"general": 60, "qms": 1}})
    definition["fee"] = {"amount": 0, "currency": "CNY"}
    assert (await running.client.import_exam(definition)).status == 201
    return running


async def reserve(api: ApiClient, candidate: str = "c-1", **more: Any) -> Reply:
    return await api.reserve(candidate, exam="free", **more)


async def check(running: Running, evidence: Evidence, booked: list[str]) -> None:
    """Fail unless these are booked, both stores agree, and nothing is due back."""
    await evidence.assert_books_balance("free")
    assert await evidence.bookings() == sorted(booked)
    assert await evidence.rows("SELECT * FROM refunds_due") == []
    assert (await audit(running.service.stores.maintenance, "free")).differences == ()


async def test_the_call_that_reserves_what_costs_nothing_books_it(
    free: Running, evidence: Evidence
) -> None:
    api = free.client

    first = await reserve(api, idempotency_key="key-a")
    booked = await evidence.bookings()
    again = await reserve(api, idempotency_key="key-a")
    seen = await api.get(f"/v1/reservations/{first.json['id']}")

    assert (first.status, first.json["state"], first.json["amount"]) == (201, "confirmed", 0)
    assert (first.json["deadline"], first.json["payment"]) == (None, None)
    assert booked == [first.json["id"]]
    assert (again.body, again.headers["Idempotency-Replayed"]) == (first.body, "true")
    assert seen.json == first.json
    await check(free, evidence, booked)


async def test_a_booking_that_cost_nothing_is_refunded_and_nothing_is_due(
    free: Running, evidence: Evidence
) -> None:
    api = free.client
    first = await reserve(api, idempotency_key="key-a")

    refunded = await api.call("POST", f"/v1/reservations/{first.json['id']}/refund")
    again = await reserve(api, idempotency_key="key-a")
    view = (await api.get("/v1/exams/free/candidates/c-1")).json

    assert (refunded.status, refunded.json["state"]) == (200, "refunded")
    assert again.body == first.body
    assert (view["refund_used"], view["refund"]["amount"]) == (True, 0)
    await check(free, evidence, [first.json["id"]])


async def test_a_payment_of_nothing_is_ignored_and_one_of_money_is_due_back(
    free: Running, evidence: Evidence
) -> None:
    api = free.client
    first = (await reserve(api)).json

    nothing = await api.pay(first, event="e-1")
    money = await api.pay(first, event="e-2", amount=5)

    assert nothing.json == {"outcome": "ignored", "reservation": first["id"]}
    assert (money.json["outcome"], money.json["reason"]) == ("refund_due", "already-paid")
    due = await evidence.rows("SELECT event, amount FROM refunds_due")
    assert [tuple(row) for row in due] == [("e-2", 5)]
    assert (await audit(free.service.stores.maintenance, "free")).differences == ()


async def test_while_postgres_is_away_nothing_is_promised_and_a_repeat_books(
    free: Running, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = free.client

    async def away(*_: object) -> None:
        raise LedgerUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(ConfirmationLedger, "settle", away)
        refused = await reserve(api, idempotency_key="key-a")
    again = await reserve(api, idempotency_key="key-a")

    assert_refused(refused, 503, "not-ready")
    assert (again.status, again.json["state"]) == (201, "confirmed")
    await check(free, evidence, [again.json["id"]])


async def test_a_hold_that_was_never_booked_and_whose_seats_are_gone_has_ended(
    free: Running, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, stores = free.client, free.service.stores

    async def dies(*_: object) -> None:
        raise LedgerUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr("quota_service.registration.reserve.confirm_free", dies)
        await reserve(api, subjects=("qms",), idempotency_key="key-a")
    (held,) = await evidence.reservations("free")
    await move_due_into_the_past(redis_of(free.service), held.id)
    shard, serial = stores.registry.locate(held.id)
    assert (await stores.seats.expire(shard, [serial]))[0] == 1
    quicker = await reserve(api, "c-2", subjects=("qms",))

    ends = [await reserve(api, subjects=("qms",), idempotency_key="key-a") for _ in range(2)]

    for end in ends:
        assert_refused(end, 409, "reservation-ended")
        assert end.json["state"] == "expired"
    await check(free, evidence, [quicker.json["id"]])


async def test_many_at_once_are_booked_once_each(free: Running, evidence: Evidence) -> None:
    candidates = [f"c-{i}" for i in range(30)] * 2

    replies = await asyncio.gather(
        *(reserve(free.client, each, idempotency_key=f"key-{each}") for each in candidates)
    )

    assert {(reply.status, reply.json["state"]) for reply in replies} == {(201, "confirmed")}
    await check(free, evidence, list({reply.json["id"] for reply in replies}))
    ends = await evidence.payments()
    assert {end for end, _ in ends.values()} == {PaymentOutcome.CONFIRMED}
