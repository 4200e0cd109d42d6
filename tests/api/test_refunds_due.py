"""Money that has to go back: listed for ops until they say that it was sent, each payment once.

Over 400 lines because the list, its pages and its settlement are one resource.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import redis.asyncio

from quota_service.ledger.api_keys import Scope, split_key
from quota_service.workers.expiry import ExpiryWorker
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.records import move_due_into_the_past
from tests.support.refusals import assert_refused

LIST = "/v1/refunds-due"
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
}
NO_SUCH_RESERVATION = f"exam-1.0.{'a' * 24}"


def path_of(exam: str | None) -> str:
    """Return where the list of an exam is, or that of all."""
    return LIST if exam is None else f"/v1/exams/{exam}/refunds-due"


async def look(api: ApiClient, query: str = "", *, exam: str | None = None) -> Any:
    """Return one page of the list."""
    reply = await api.get(f"{path_of(exam)}{query}", key=api.ops_key)
    assert reply.status == 200, reply
    return reply.json


async def listed(api: ApiClient, *, exam: str | None = None) -> list[Mapping[str, Any]]:
    """Return the whole list, in pages of two."""
    found: list[Mapping[str, Any]] = []
    page = await look(api, "?limit=2", exam=exam)
    found += page["refunds_due"]
    while page["next"] is not None:
        page = await look(api, f"?limit=2&after={page['next']}", exam=exam)
        found += page["refunds_due"]
    return found


def reasons(found: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return the reason of each event; fail when an event stands twice."""
    assert len({due["event"] for due in found}) == len(found), found
    return {due["event"]: due["reason"] for due in found}


async def settle(
    api: ApiClient, refund: object, *, exam: str | None = None, key: str | None = None
) -> Reply:
    return await api.call("POST", f"{path_of(exam)}/{refund}/settle", key=key or api.ops_key)


async def hold(api: ApiClient, candidate: str, subject: str = "general") -> Any:
    reply = await api.reserve(candidate, (subject,), ("jinan", "tianjin"))
    assert reply.status == 201, reply
    return reply.json


async def refund(api: ApiClient, reservation: Mapping[str, Any]) -> None:
    reply = await api.call("POST", f"/v1/reservations/{reservation['id']}/refund")
    assert reply.status == 200, reply


async def expire(
    running: Running, client: "redis.asyncio.Redis", reservation: Mapping[str, Any]
) -> None:
    """Let the time of a hold run out."""
    await move_due_into_the_past(client, reservation["id"])
    worker = ExpiryWorker(running.service.stores, running.service.settings)
    assert await worker.run_once() == {"expired": 1}


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


async def test_what_is_settled_while_one_pages_makes_no_other_entry_be_missed(
    api: ApiClient,
) -> None:
    for i in range(6):
        await api.pay("nobody", event=f"e-{i}")

    seen, after = [], "0"
    for _ in range(3):
        page = await look(api, f"?limit=2&after={after}")
        for due in page["refunds_due"]:
            seen.append(due["event"])
            await settle(api, due["id"])
        after = page["next"]

    assert seen == [f"e-{i}" for i in range(6)]
    assert await listed(api) == []


async def test_settling_again_keeps_who_was_first_and_when(
    running: Running, evidence: Evidence, nothing_changes: NothingChanges
) -> None:
    api = running.client
    other_key = await running.service.key_ledger.create("other", frozenset({Scope.OPS}))
    await running.service.keys.refresh()
    await api.pay("nobody", event="e-1")
    (due,) = await listed(api)

    first = await settle(api, due["id"])
    async with nothing_changes():
        again = await settle(api, due["id"], key=other_key)

    assert first.status == again.status == 200
    assert first.json["settled_at"] >= due["due_at"]
    assert first.json == {**due, "settled_at": first.json["settled_at"]}
    assert again.json == first.json
    rows = await evidence.rows("SELECT settled_by FROM refunds_due")
    first_id, _ = split_key(api.ops_key) or ("", "")
    assert [row["settled_by"] for row in rows] == [first_id]


async def test_of_many_who_settle_at_once_one_is_the_first(running: Running) -> None:
    api = running.client
    await api.pay("nobody")
    (due,) = await listed(api)

    replies = await asyncio.gather(*(settle(api, due["id"]) for _ in range(20)))

    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1


async def test_an_unknown_refund_and_one_of_another_exam_cannot_be_settled(
    api: ApiClient, nothing_changes: NothingChanges, subtests: pytest.Subtests
) -> None:
    await api.import_exam(exam_definition("exam-2"))
    await api.pay(NO_SUCH_RESERVATION)
    (due,) = await listed(api)
    most, odd = str(2**63 - 1), [str(2**63), "9" * 40, "-1", "abc", "1.0", "%EF%BC%91", "1%20"]

    async with nothing_changes():
        assert_refused(await settle(api, due["id"], exam="exam-2"), 404, "unknown-refund")
        for refund_id in ("0", str(int(due["id"]) + 1), most, *odd):
            with subtests.test(refund=refund_id):
                assert_refused(await settle(api, refund_id), 404, "unknown-refund")
                of_exam = await settle(api, refund_id, exam="exam-1")
                assert_refused(of_exam, 404, "unknown-refund")

    assert [each["id"] for each in await listed(api)] == [due["id"]]


async def test_a_refund_id_of_thousands_of_digits_is_unknown_and_no_fault(api: ApiClient) -> None:
    assert_refused(await settle(api, "9" * 5000), 404, "unknown-refund")


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
