"""How payments end: every captured one as a booking or as a refund that is due."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.api.conftest import NothingChanges
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence


def ending(reply: Reply) -> tuple[str, str | None]:
    """Return outcome and reason of a callback's answer."""
    assert reply.status == 200, reply
    return reply.json["outcome"], reply.json.get("reason")


async def state_of(api: ApiClient, reservation: Mapping[str, Any]) -> str:
    reply = await api.get(f"/v1/reservations/{reservation['id']}")
    return str(reply.json["state"])


async def give_back(api: ApiClient, reservation: Mapping[str, Any]) -> None:
    reply = await api.call("DELETE", f"/v1/reservations/{reservation['id']}")
    assert reply.json["state"] == "released"


async def test_a_captured_payment_books_every_subject(api: ApiClient, evidence: Evidence) -> None:
    held = (await api.reserve("candidate-1", ("general", "qms"), ("jinan",))).json

    reply = await api.pay(held, event="e-1")

    assert reply.json == {"outcome": "confirmed", "reservation": held["id"]}
    assert await state_of(api, held) == "confirmed"
    assert await evidence.payments() == {"e-1": ("confirmed", None)}
    items = await evidence.rows("SELECT subject, session FROM booking_items ORDER BY subject")
    assert [tuple(row) for row in items] == [("general", "day1-am"), ("qms", "day1-pm")]
    await evidence.assert_books_balance()


async def test_the_same_event_again_is_answered_the_same_and_has_no_further_effect(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    held = (await api.reserve()).json
    first = await api.pay(held, event="e-1")

    async with nothing_changes():
        again = [await api.pay(held, event="e-1") for _ in range(3)]

    assert [(reply.status, reply.body) for reply in again] == [(200, first.body)] * 3


async def test_a_refund_repeated_is_answered_the_same(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    held = (await api.reserve()).json
    first = await api.pay(held, event="e-1", amount=1)

    async with nothing_changes():
        again = await api.pay(held, event="e-1", amount=1)

    assert ending(first) == ("refund_due", "wrong-amount")
    assert again.body == first.body


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": 7999},
        {"currency": "USD"},
        {"status": "failed"},
        {"paid_at": "2026-01-02T03:04:06Z"},
        {"provider_reference": "another"},
    ],
)
async def test_the_same_event_with_another_body_is_refused(
    api: ApiClient, nothing_changes: NothingChanges, changed: dict[str, Any]
) -> None:
    held = (await api.reserve()).json
    await api.pay(held, event="e-1")

    async with nothing_changes():
        reply = await api.pay(held, event="e-1", **changed)

    assert (reply.status, reply.slug) == (422, "event-id-reused")
    assert [error["field"] for error in reply.json["errors"]] == ["webhook-id"]


@pytest.mark.parametrize("first_status", ["captured", "failed"])
async def test_an_event_that_was_about_another_reservation_is_refused_and_the_hold_stays(
    api: ApiClient, evidence: Evidence, first_status: str
) -> None:
    first = (await api.reserve("candidate-1")).json
    held = (await api.reserve("candidate-2")).json
    await api.pay(first, event="e-1", status=first_status)
    recorded = await evidence.payments()

    reply = await api.pay(held, event="e-1")
    seen = await api.get(f"/v1/reservations/{held['id']}")
    released = await api.call("DELETE", f"/v1/reservations/{held['id']}")

    assert (reply.status, reply.slug) == (422, "event-id-reused")
    assert seen.json == held
    assert released.json["state"] == "released"
    assert await evidence.payments() == recorded
    await evidence.assert_books_balance()


async def test_the_same_members_in_other_bytes_are_the_same_event(api: ApiClient) -> None:
    held = (await api.reserve()).json
    payment = {
        "reservation": held["id"],
        "status": "captured",
        "amount": 8000,
        "currency": "CNY",
        "paid_at": "2026-01-02T03:04:05Z",
        "provider_reference": "p-1",
    }
    compact = json.dumps(payment).encode()
    spread = json.dumps(dict(reversed(payment.items())), indent=2).encode()

    first = await api.callback(compact, event="e-1")
    again = await api.callback(spread, event="e-1")

    assert ending(first) == ("confirmed", None)
    assert again.body == first.body


async def test_a_second_payment_of_a_booking_is_due_back(
    api: ApiClient, evidence: Evidence
) -> None:
    held = (await api.reserve()).json
    await api.pay(held, event="e-1")

    second = await api.pay(held, event="e-2")
    seen = await api.get(f"/v1/reservations/{held['id']}")

    assert ending(second) == ("refund_due", "already-paid")
    assert seen.json["state"] == "confirmed"
    assert seen.json["payment"]["outcome"] == "confirmed"
    assert await evidence.payments() == {
        "e-1": ("confirmed", None),
        "e-2": ("refund_due", "already-paid"),
    }
    assert await evidence.bookings() == [held["id"]]
    await evidence.assert_books_balance()


async def test_a_payment_of_nothing_moves_no_money_and_the_hold_stays(
    api: ApiClient, evidence: Evidence
) -> None:
    held = (await api.reserve()).json

    nothing = await api.pay(held, amount=0)

    assert ending(nothing) == ("ignored", None)
    assert await state_of(api, held) == "held"
    assert await evidence.rows("SELECT * FROM refunds_due") == []
    assert ending(await api.pay(held)) == ("confirmed", None)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"amount": 7999}, "wrong-amount"),
        ({"amount": 8001}, "wrong-amount"),
        ({"currency": "USD"}, "wrong-currency"),
    ],
)
async def test_the_wrong_money_is_due_back_and_the_hold_stays(
    api: ApiClient, evidence: Evidence, members: dict[str, Any], reason: str
) -> None:
    held = (await api.reserve()).json

    wrong = await api.pay(held, **members)
    shown = (await api.get(f"/v1/reservations/{held['id']}")).json
    right = await api.pay(held)

    assert ending(wrong) == ("refund_due", reason)
    assert (shown["state"], shown["payment"]["reason"]) == ("held", reason)
    assert shown["deadline"] == held["deadline"]
    assert ending(right) == ("confirmed", None)
    await evidence.assert_books_balance()


@pytest.mark.parametrize(
    "reservation",
    [
        "exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa",
        "exam-1.7.aaaaaaaaaaaaaaaaaaaaaaaa",
        "exam-9.0.aaaaaaaaaaaaaaaaaaaaaaaa",
        "an id of somebody else",
        "预约",
        "r" * 255,
    ],
)
async def test_a_payment_for_a_reservation_nobody_knows_is_due_back(
    api: ApiClient, evidence: Evidence, reservation: str
) -> None:
    reply = await api.pay(reservation, event="e-1")
    again = await api.pay(reservation, event="e-1")

    assert ending(reply) == ("refund_due", "unknown-reservation")
    assert reply.json["reservation"] == reservation
    assert again.body == reply.body
    assert await evidence.payments() == {"e-1": ("refund_due", "unknown-reservation")}


async def test_an_id_written_another_way_is_another_id(api: ApiClient) -> None:
    held = (await api.reserve()).json
    written_otherwise = held["id"].replace(".0.", ".00.")

    seen = await api.get(f"/v1/reservations/{written_otherwise}")
    paid = await api.pay({**held, "id": written_otherwise})

    assert seen.status == 404
    assert ending(paid) == ("refund_due", "unknown-reservation")


async def test_a_failed_payment_leaves_the_hold_and_may_be_followed_by_a_captured_one(
    api: ApiClient, evidence: Evidence
) -> None:
    held = (await api.reserve()).json

    failed = await api.pay(held, event="e-1", status="failed")
    shown = (await api.get(f"/v1/reservations/{held['id']}")).json
    again = await api.pay(held, event="e-1", status="failed")
    captured = await api.pay(held, event="e-2")

    assert ending(failed) == ("ignored", None)
    assert again.body == failed.body
    assert shown == held
    assert ending(captured) == ("confirmed", None)
    assert await evidence.payments() == {"e-1": ("ignored", None), "e-2": ("confirmed", None)}


@pytest.mark.parametrize("status", ["failed", "captured"])
async def test_only_a_failed_payment_may_say_null_for_its_time(api: ApiClient, status: str) -> None:
    held = (await api.reserve()).json

    reply = await api.pay(held, status=status, paid_at=None)

    if status == "failed":
        assert ending(reply) == ("ignored", None)
    else:
        assert (reply.status, reply.slug) == (422, "invalid-request")
        assert [error["field"] for error in reply.json["errors"]] == ["paid_at"]


async def test_a_reservation_shows_its_payment_whatever_call_answers_with_it(
    api: ApiClient,
) -> None:
    held = (await api.reserve()).json
    path = f"/v1/reservations/{held['id']}"
    await api.pay(held, amount=1)

    read = (await api.get(path)).json
    begun = (await api.call("POST", f"{path}/checkout")).json
    released = [(await api.call("DELETE", path)).json for _ in range(2)]

    assert read["payment"]["reason"] == "wrong-amount"
    assert {each["payment"]["reason"] for each in (begun, *released)} == {"wrong-amount"}


async def test_a_failed_payment_changes_no_booking(api: ApiClient, evidence: Evidence) -> None:
    held = (await api.reserve()).json
    await api.pay(held)

    failed = await api.pay(held, status="failed", amount=1, currency="USD")

    assert ending(failed) == ("ignored", None)
    assert await state_of(api, held) == "confirmed"
    await evidence.assert_books_balance()


async def test_a_failed_payment_need_not_say_when_it_was_paid(api: ApiClient) -> None:
    held = (await api.reserve()).json
    body = {
        "reservation": held["id"],
        "status": "failed",
        "amount": 8000,
        "currency": "CNY",
        "provider_reference": "p",
    }

    reply = await api.callback(json.dumps(body).encode())

    assert ending(reply) == ("ignored", None)


async def test_a_payment_after_a_release_is_due_back_and_takes_no_seat(
    api: ApiClient, evidence: Evidence
) -> None:
    held = (await api.reserve()).json
    await give_back(api, held)

    paid = await api.pay(held)
    shown = (await api.get(f"/v1/reservations/{held['id']}")).json

    assert ending(paid) == ("refund_due", "released")
    assert (shown["state"], shown["payment"]["outcome"]) == ("released", "refund_due")
    assert await api.remaining("jinan", "general") == 3
    await evidence.assert_books_balance()


async def test_many_events_and_duplicates_at_once_make_exactly_one_booking(
    api: ApiClient, evidence: Evidence
) -> None:
    held = (await api.reserve()).json
    events = [f"e-{i}" for i in range(12)] * 5

    replies = await asyncio.gather(*(api.pay(held, event=event) for event in events))

    by_event: dict[str, set[bytes]] = {}
    for event, reply in zip(events, replies, strict=True):
        assert reply.status == 200, reply
        by_event.setdefault(event, set()).add(reply.body)
    assert all(len(bodies) == 1 for bodies in by_event.values()), by_event
    assert await evidence.bookings() == [held["id"]]
    recorded = await evidence.payments()
    assert Counter(recorded.values()) == {
        ("confirmed", None): 1,
        ("refund_due", "already-paid"): 11,
    }
    assert await state_of(api, held) == "confirmed"
    await evidence.assert_books_balance()


async def test_every_captured_event_has_its_row_whatever_came_with_it_in_one_group(
    api: ApiClient, evidence: Evidence
) -> None:
    good = [(await api.reserve(f"candidate-{i}", venues=("tianjin",))).json for i in range(4)]
    released = (await api.reserve("candidate-9", venues=("tianjin",))).json
    await give_back(api, released)
    calls = {
        **{f"good-{i}": api.pay(held, event=f"good-{i}") for i, held in enumerate(good)},
        "unknown": api.pay("nobody", event="unknown"),
        "released": api.pay(released, event="released"),
        "wrong": api.pay(good[0], event="wrong", amount=5),
        "failed": api.pay(good[1], event="failed", status="failed"),
        "second": api.pay(good[2], event="second"),
    }

    replies = dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))

    recorded = await evidence.payments()
    assert {event: ending(reply) for event, reply in replies.items()} == recorded
    assert recorded["unknown"] == ("refund_due", "unknown-reservation")
    assert recorded["released"] == ("refund_due", "released")
    assert recorded["failed"] == ("ignored", None)
    assert {recorded["good-2"][0], recorded["second"][0]} == {"confirmed", "refund_due"}
    # The wrong amount finds a hold, or the booking that the right one made just before it.
    assert recorded["wrong"][0] == "refund_due"
    assert len(await evidence.bookings()) == 4
    await evidence.assert_books_balance()
