"""Changes of venue and refunds as a frontend sees them; every answer is one the document has."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
import redis.asyncio

from quota_service.ledger.changes import ChangeLedger
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.workers.expiry import ExpiryWorker
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.bookings import check_agreement, meanwhile
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.records import move_due_into_the_past
from tests.support.refusals import assert_refused

CONTRACT = Contract()


async def move(api: ApiClient, reservation: Mapping[str, Any], venue: object) -> Reply:
    path = f"/v1/reservations/{reservation['id']}/venue"
    reply = await api.call("PUT", path, json={"venue": venue})
    CONTRACT.check("PUT /v1/reservations/{reservation}/venue", reply)
    return reply


async def pay_back(api: ApiClient, reservation: Mapping[str, Any]) -> Reply:
    reply = await api.call("POST", f"/v1/reservations/{reservation['id']}/refund")
    CONTRACT.check("POST /v1/reservations/{reservation}/refund", reply)
    return reply


async def see(api: ApiClient, reservation: Mapping[str, Any]) -> Any:
    reply = await api.get(f"/v1/reservations/{reservation['id']}")
    assert reply.status == 200, reply
    return reply.json


async def booked(api: ApiClient, *words: Any, **options: Any) -> Any:
    """Reserve and pay, and return the booking as it is shown."""
    held = await api.reserve(*words, **options)
    assert held.status == 201, held
    assert (await api.pay(held.json)).json["outcome"] == "confirmed"
    return await see(api, held.json)


def windows(**moved: tuple[float, float]) -> dict[str, Any]:
    """Return the test exam with windows moved; each opens and closes so many seconds from now."""
    definition = exam_definition()
    for name, (opens_in_s, closes_in_s) in moved.items():
        shifted = exam_definition(opens_in_s=opens_in_s, closes_in_s=closes_in_s)
        definition[name] = shifted["registration"]
    return definition


async def expire(
    running: Running, client: "redis.asyncio.Redis", reservation: Mapping[str, Any]
) -> None:
    await move_due_into_the_past(client, reservation["id"])
    counts = await ExpiryWorker(running.service.stores, running.service.settings).run_once()
    assert counts == {"expired": 1}


async def test_a_hold_moves_and_nothing_else_about_it_changes(
    api: ApiClient, evidence: Evidence
) -> None:
    held = (await api.reserve("candidate-1", ("general", "qms"), ("jinan",))).json

    reply = await move(api, held, "tianjin")

    assert (reply.status, reply.json) == (200, {**held, "venue": "tianjin"})
    assert await see(api, held) == reply.json
    assert (await api.remaining("jinan", "qms"), await api.remaining("tianjin", "qms")) == (2, 4)
    await evidence.assert_books_balance()


async def test_a_booking_moves_and_nothing_else_about_it_changes(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    booking = await booked(api, "candidate-1", ("general", "qms"), ("jinan",))

    reply = await move(api, booking, "tianjin")

    assert (reply.status, reply.json) == (200, {**booking, "venue": "tianjin"})
    assert (reply.json["state"], reply.json["deadline"]) == ("confirmed", None)
    assert reply.json["payment"]["outcome"] == "confirmed"
    assert await see(api, booking) == reply.json
    assert (await api.remaining("jinan", "qms"), await api.remaining("tianjin", "qms")) == (2, 4)
    await evidence.assert_books_balance()
    await check_agreement(running.service, booked=2)


@pytest.mark.parametrize("paid", [False, True])
async def test_the_same_change_again_is_answered_the_same_and_changes_nothing(
    api: ApiClient, nothing_changes: NothingChanges, *, paid: bool
) -> None:
    reservation = await booked(api) if paid else (await api.reserve()).json
    first = await move(api, reservation, "tianjin")

    async with nothing_changes():
        again = await move(api, reservation, "tianjin")
    back = await move(api, reservation, "jinan")

    assert (again.status, again.body) == (200, first.body)
    assert back.json == reservation


async def test_an_order_repeated_after_its_hold_moved_is_answered_as_the_first_was(
    api: ApiClient,
) -> None:
    first = await api.reserve(idempotency_key="key-a")
    await move(api, first.json, "tianjin")

    again = await api.reserve(idempotency_key="key-a")

    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert again.json == first.json


@pytest.mark.parametrize("paid", [False, True])
async def test_a_sold_out_venue_is_told_with_what_is_left_there(
    api: ApiClient, nothing_changes: NothingChanges, *, paid: bool
) -> None:
    order = ("candidate-1", ("general", "ems"), ("jinan",))
    reservation = await booked(api, *order) if paid else (await api.reserve(*order)).json

    async with nothing_changes():
        reply = await move(api, reservation, "tianjin")

    assert_refused(reply, 409, "sold-out")
    assert reply.json["left"] == [
        {"venue": "tianjin", "subject": "general", "remaining": 5, "offered": True},
        {"venue": "tianjin", "subject": "ems", "remaining": 0, "offered": True},
    ]
    assert await see(api, reservation) == reservation


async def test_ended_reservations_are_refused_by_how_they_ended(
    running: Running, redis_client: "redis.asyncio.Redis", nothing_changes: NothingChanges
) -> None:
    api = running.client
    released = (await api.reserve("candidate-1")).json
    await api.call("DELETE", f"/v1/reservations/{released['id']}")
    expired = (await api.reserve("candidate-2")).json
    await expire(running, redis_client, expired)
    refunded = await booked(api, "candidate-3")
    await pay_back(api, refunded)

    async with nothing_changes():
        moves = [await move(api, r, "tianjin") for r in (released, expired, refunded)]
        refunds = [await pay_back(api, r) for r in (released, expired)]

    for reply, state in zip(
        [*moves, *refunds], ["released", "expired", "refunded", "released", "expired"], strict=True
    ):
        assert_refused(reply, 409, "reservation-ended")
        assert reply.json["state"] == state


async def test_outside_the_registration_window_nobody_moves(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    held, booking = (await api.reserve("candidate-1")).json, await booked(api, "candidate-2")
    later, over = windows(registration=(600, 3600)), windows(registration=(-3600, -60))

    await api.import_exam(later)
    async with nothing_changes():
        early = [await move(api, r, "tianjin") for r in (held, booking)]
    await api.import_exam(over)
    async with nothing_changes():
        late = [await move(api, r, "tianjin") for r in (held, booking)]
        still = await move(api, booking, "jinan")

    for reply in early:
        assert_refused(reply, 409, "registration-not-open")
        assert reply.json["opens_at"] == later["registration"]["opens_at"]
    for reply in late:
        assert_refused(reply, 409, "registration-closed")
        assert reply.json["closed_at"] == over["registration"]["closes_at"]
    assert (still.status, still.json) == (200, booking)


async def test_while_a_payment_or_a_change_is_recorded_both_are_refused(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = running.client
    held = (await api.reserve("candidate-1")).json
    replies: list[Reply] = []

    async def try_both() -> None:
        replies.extend([await move(api, held, "tianjin"), await pay_back(api, held)])

    meanwhile(monkeypatch, ConfirmationLedger, "settle", try_both)
    paid = await api.pay(held)
    meanwhile(monkeypatch, ChangeLedger, "change", try_both)
    moved = await move(api, held, "tianjin")

    for reply, slug in zip(
        replies, ["payment-in-progress"] * 2 + ["change-in-progress"] * 2, strict=True
    ):
        assert_refused(reply, 409, slug)
    assert paid.json["outcome"] == "confirmed"
    assert moved.json["venue"] == "tianjin"
    await check_agreement(running.service, booked=1)


async def test_a_booking_that_is_changing_is_shown_so_and_cannot_be_given_back(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = running.client
    booking = await booked(api)
    path = f"/v1/reservations/{booking['id']}"
    shown: list[Any] = []
    replies: list[Reply] = []

    async def look() -> None:
        shown.append(await see(api, booking))
        replies.append(await api.call("DELETE", path))
        replies.append(await api.call("POST", f"{path}/checkout"))
        shown.append((await api.get("/v1/exams/exam-1/candidates/candidate-1")).json["registered"])

    meanwhile(monkeypatch, ChangeLedger, "change", look)
    await move(api, booking, "tianjin")

    assert shown == [{**booking, "state": "changing_venue"}, True]
    for reply in replies:
        assert_refused(reply, 409, "already-confirmed")


async def test_a_refunded_booking_is_shown_so_everywhere(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    booking = await booked(api, "candidate-1", ("general", "qms"), ("jinan",))

    reply = await pay_back(api, booking)
    view = (await api.get("/v1/exams/exam-1/candidates/candidate-1")).json
    due = (await api.get("/v1/exams/exam-1/refunds-due", key=api.ops_key)).json["refunds_due"]

    assert (reply.status, reply.json) == (200, {**booking, "state": "refunded"})
    assert await see(api, booking) == reply.json
    assert (view["registered"], view["refund_used"]) == (False, True)
    refunded_at = dt.datetime.fromisoformat(view["refund"].pop("refunded_at"))
    assert abs(dt.datetime.now(dt.UTC) - refunded_at) < dt.timedelta(minutes=1)
    assert view["refund"] == {
        "reservation": booking["id"],
        "amount": 16000,
        "currency": "CNY",
        "settled_at": None,
    }
    (money,) = due
    assert (money["reservation"], money["reason"], money["amount"]) == (
        booking["id"],
        "refunded",
        16000,
    )
    assert await api.remaining("jinan", "qms") == 2
    await evidence.assert_books_balance()
    await check_agreement(running.service, booked=0)


async def test_a_second_refund_is_refused_with_the_one_that_was_used(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    first = await booked(api, "candidate-1", ("general",))
    await pay_back(api, first)
    second = await booked(api, "candidate-1", ("general", "qms"))

    replies = [await pay_back(api, reservation) for reservation in (first, second)]

    for reply in replies:
        assert_refused(reply, 409, "refund-used")
        assert reply.json["reservation"] == first["id"]
    assert await see(api, second) == second
    await evidence.assert_books_balance()
    await check_agreement(running.service, booked=2)


async def test_a_hold_is_not_refunded(api: ApiClient, nothing_changes: NothingChanges) -> None:
    held = (await api.reserve()).json

    async with nothing_changes():
        reply = await pay_back(api, held)

    assert_refused(reply, 409, "not-confirmed")


async def test_outside_the_refund_window_nobody_is_refunded(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    booking = await booked(api)
    later, over = windows(refund=(600, 3600)), windows(refund=(-3600, -60))

    await api.import_exam(later)
    async with nothing_changes():
        early = await pay_back(api, booking)
    await api.import_exam(over)
    async with nothing_changes():
        late = await pay_back(api, booking)
    await api.import_exam(windows(registration=(-3600, -60)))
    at_last = await pay_back(api, booking)

    assert_refused(early, 409, "refund-not-open")
    assert early.json["opens_at"] == later["refund"]["opens_at"]
    assert_refused(late, 409, "refund-closed")
    assert late.json["closed_at"] == over["refund"]["closes_at"]
    assert at_last.json["state"] == "refunded"


async def test_payments_for_a_moved_and_for_a_refunded_booking_go_back(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve()).json
    await api.pay(held, event="e-1")
    await move(api, held, "tianjin")
    moved = await api.pay(held, event="e-2")
    await pay_back(api, held)

    refunded = await api.pay(held, event="e-3")
    repeated = await api.pay(held, event="e-1")

    assert (moved.json["outcome"], moved.json["reason"]) == ("refund_due", "already-paid")
    assert (refunded.json["outcome"], refunded.json["reason"]) == ("refund_due", "refunded")
    assert repeated.json == {"outcome": "confirmed", "reservation": held["id"]}
    due = (await api.get("/v1/exams/exam-1/refunds-due", key=api.ops_key)).json["refunds_due"]
    assert [d["event"] for d in due] == ["e-2", "e-1", "e-3"]
    await evidence.assert_books_balance()
    await check_agreement(running.service, booked=0)
