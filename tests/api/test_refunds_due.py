"""Money that has to go back: listed for ops, page by page, until they say that it was sent."""

import asyncio

import pytest
import redis.asyncio

from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.refunds_due import (
    LIST,
    NO_SUCH_RESERVATION,
    expire,
    hold,
    listed,
    look,
    path_of,
    reasons,
    refund,
    settle,
)
from tests.support.refusals import assert_refused

MEMBERS = {
    "id",
    "event",
    "exam",
    "reservation",
    "reason",
    "amount",
    "currency",
    "provider_reference",
    "due_at",
    "settled_at",
    "refunded_at",
    "disputed_at",
    "settled_before",
}


async def every_kind(running: Running, client: "redis.asyncio.Redis") -> dict[str, str]:
    """Make a payment of every kind that has to go back; return the reason of each event."""
    api = running.client
    late = (await api.reserve("late", ("service",), ("jinan",))).json
    await expire(running, client, late)
    assert (await api.reserve("quicker", ("service",), ("jinan",))).status == 201
    await api.pay(late, event="late")
    conflicting = await hold(api, "conflict", "qms")
    await expire(running, client, conflicting)
    await api.reserve("conflict", ("ems",), ("jinan",))
    await api.pay(conflicting, event="conflict")
    wrong = await hold(api, "wrong")
    await api.pay(wrong, event="too-little", amount=wrong["amount"] - 1)
    await api.pay(wrong, event="other-money", currency="USD")
    await api.pay(NO_SUCH_RESERVATION, event="unknown")
    await api.pay("nobody", event="nobody")
    await api.pay("exam-9.0.xxx", event="no-exam")
    booked = await hold(api, "booked")
    await api.pay(booked, event="booked")
    await api.pay(booked, event="booked-again")
    released = await hold(api, "released")
    await api.call("DELETE", f"/v1/reservations/{released['id']}")
    await api.pay(released, event="released")
    refunded = await hold(api, "refunded", "ems")
    await api.pay(refunded, event="refunded")
    await refund(api, refunded)
    await api.pay(refunded, event="refunded-and-paid-again")
    await api.pay(released, event="failed", status="failed")
    return {
        "late": "sold-out",
        "conflict": "session-conflict",
        "too-little": "wrong-amount",
        "other-money": "wrong-currency",
        "unknown": "unknown-reservation",
        "nobody": "unknown-reservation",
        "no-exam": "unknown-reservation",
        "booked-again": "already-paid",
        "released": "released",
        "refunded": "refunded",
        "refunded-and-paid-again": "refunded",
    }


async def test_every_kind_of_payment_that_has_to_go_back_is_listed_once_until_it_is_settled(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = running.client
    expected = await every_kind(running, redis_client)
    # The provider sends again what it has sent.
    for event in ("nobody", "no-exam", "unknown"):
        named = {"nobody": "nobody", "no-exam": "exam-9.0.xxx", "unknown": NO_SUCH_RESERVATION}
        assert (await api.pay(named[event], event=event)).status == 200

    found = await listed(api)

    assert reasons(found) == expected
    in_no_exam = {due["event"] for due in found if due["exam"] is None}
    assert in_no_exam == {"nobody", "no-exam"}
    assert {due["exam"] for due in found} == {"exam-1", None}
    left = dict(expected)
    for due in found:
        assert (await settle(api, due["id"])).status == 200
        del left[due["event"]]
        assert reasons(await listed(api)) == left
    assert await look(api) == {"exam": None, "refunds_due": [], "next": None}
    assert await look(api, exam="exam-1") == {"exam": "exam-1", "refunds_due": [], "next": None}
    await evidence.assert_books_balance()


async def test_every_captured_payment_is_a_booking_or_in_the_list(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = running.client
    await every_kind(running, redis_client)

    found = await listed(api)

    captured = await evidence.rows(
        "SELECT event, amount FROM payment_events WHERE status = 'captured'"
    )
    booked = await evidence.rows("SELECT event, amount, state FROM bookings")
    standing = {row["event"] for row in booked if row["state"] == "confirmed"}
    due = set(reasons(found))
    # A refunded booking is both: its row stays, and its money goes back.
    assert {row["event"] for row in booked} - standing == {"refunded"}
    assert standing | due == {row["event"] for row in captured}
    assert standing & due == set()
    amount = {row["event"]: row["amount"] for row in captured}
    assert {each["event"]: each["amount"] for each in found} == {e: amount[e] for e in due}


async def test_an_entry_tells_the_payment_as_the_provider_reported_it(api: ApiClient) -> None:
    held = await hold(api, "candidate-1")
    await api.pay(held, event="e-1", amount=5, currency="EUR", provider_reference="bank 7, \u00e9")

    (due,) = await listed(api)

    assert set(due) == MEMBERS
    told = {name: due[name] for name in MEMBERS - {"id", "due_at"}}
    assert told == {
        "event": "e-1",
        "exam": "exam-1",
        "reservation": held["id"],
        "reason": "wrong-amount",
        "amount": 5,
        "currency": "EUR",
        "provider_reference": "bank 7, \u00e9",
        "settled_at": None,
        "refunded_at": None,
        "disputed_at": None,
        "settled_before": [],
    }
    assert due["due_at"].endswith("Z")


async def test_a_refund_is_due_with_the_whole_amount_that_was_paid(api: ApiClient) -> None:
    held = (await api.reserve("candidate-1", ("general", "qms"), ("jinan",))).json
    await api.pay(held, event="e-1")
    before = await listed(api)

    await refund(api, held)
    (due,) = await listed(api)

    assert before == []
    assert (due["event"], due["amount"], due["currency"]) == ("e-1", 16000, "CNY")
    assert (due["reservation"], due["reason"]) == (held["id"], "refunded")


async def test_what_belongs_to_an_exam_is_listed_there_and_what_names_none_with_no_exam(
    api: ApiClient,
) -> None:
    await api.import_exam(exam_definition("exam-2"))
    await api.pay(NO_SUCH_RESERVATION, event="of-1")
    await api.pay(NO_SUCH_RESERVATION.replace("exam-1", "exam-2"), event="of-2")
    await api.pay("nobody", event="of-none")

    first, second = await listed(api, exam="exam-1"), await listed(api, exam="exam-2")
    every = await listed(api)

    assert [due["event"] for due in first] == ["of-1"]
    assert [due["event"] for due in second] == ["of-2"]
    assert [due["event"] for due in every] == ["of-1", "of-2", "of-none"]


async def test_pages_follow_one_another_and_hold_each_entry_once(api: ApiClient) -> None:
    events = [f"e-{i}" for i in range(7)]
    for event in events:
        await api.pay("nobody", event=event)

    first = await look(api, "?limit=3")
    second = await look(api, f"?limit=3&after={first['next']}")
    third = await look(api, f"?after={second['next']}&limit=3")
    again = await look(api, "?limit=3")

    pages = [[due["event"] for due in page["refunds_due"]] for page in (first, second, third)]
    assert pages == [events[:3], events[3:6], events[6:]]
    assert third["next"] is None
    assert again == first


async def test_a_list_that_ends_with_a_full_page_is_followed_by_an_empty_one(
    api: ApiClient,
) -> None:
    for i in range(4):
        await api.pay("nobody", event=f"e-{i}")

    first = await look(api, "?limit=2")
    second = await look(api, f"?limit=2&after={first['next']}")
    third = await look(api, f"?limit=2&after={second['next']}")

    assert [len(page["refunds_due"]) for page in (first, second, third)] == [2, 2, 0]
    assert second["next"] is not None
    assert third["next"] is None


async def test_beyond_the_end_there_is_an_empty_page(api: ApiClient) -> None:
    await api.pay("nobody")

    pages = [await look(api, f"?after={after}") for after in (10**6, 2**63 - 1)]

    assert pages == [{"exam": None, "refunds_due": [], "next": None}] * 2


async def test_a_page_holds_a_hundred_unless_told_and_five_hundred_at_most(api: ApiClient) -> None:
    await asyncio.gather(*(api.pay("nobody", event=f"e-{i}") for i in range(101)))

    untold = await look(api)
    rest = await look(api, f"?after={untold['next']}")
    whole = await look(api, "?limit=500")

    assert [len(page["refunds_due"]) for page in (untold, rest, whole)] == [100, 1, 101]
    assert whole["next"] is None


@pytest.mark.parametrize(
    ("query", "named"),
    [
        *((f"?after={value}", ["after"]) for value in ("", "-1", "abc", "1.0", "%EF%BC%91", 2**63)),
        *((f"?limit={value}", ["limit"]) for value in ("", "0", "501", "-1", "1e2", "9" * 5000)),
        ("?page=2", ["page"]),
        ("?Limit=2", ["Limit"]),
        ("?offset=1&after=x&limit=0&Exam=exam-2", ["offset", "Exam", "after", "limit"]),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_wrong_parameter_is_refused_by_its_name(
    api: ApiClient, query: str, named: list[str]
) -> None:
    reply = await api.get(f"{LIST}{query}", key=api.ops_key)

    assert_refused(reply, 422, "invalid-request", *named)


async def test_only_ops_may_look_and_settle(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    await api.pay("nobody")
    (due,) = await listed(api)
    calls = [
        (method, f"{path_of(exam)}{rest}")
        for method, rest in (("GET", ""), ("POST", f"/{due['id']}/settle"))
        for exam in (None, "exam-1")
    ]

    async with nothing_changes():
        for method, path in calls:
            assert_refused(await api.call(method, path), 403, "forbidden")
            assert_refused(await api.call(method, path, key=None), 401, "unauthorized")


async def test_an_unknown_exam_has_no_list(api: ApiClient) -> None:
    await api.pay("nobody")
    (due,) = await listed(api)

    looked = await api.get("/v1/exams/exam-9/refunds-due", key=api.ops_key)
    settled = await settle(api, due["id"], exam="exam-9")

    assert_refused(looked, 404, "unknown-exam")
    assert_refused(settled, 404, "unknown-exam")
    assert await listed(api) == [due]
