"""Reserve, look, check out and give back: what a frontend sees on each path."""

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Any

import redis.asyncio

from quota_service.workers.expiry import ExpiryWorker
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.records import move_due_into_the_past

MEMBERS = {
    "id",
    "exam",
    "candidate",
    "venue",
    "subjects",
    "state",
    "amount",
    "currency",
    "deadline",
    "created_at",
    "payment",
}


def moment(text: str) -> dt.datetime:
    assert text.endswith("Z"), text
    assert len(text) == len("2023-03-14T04:00:00.000Z"), text
    return dt.datetime.fromisoformat(text)


async def see(api: ApiClient, reservation: Mapping[str, Any]) -> Any:
    """Return a reservation as GET shows it."""
    reply = await api.get(f"/v1/reservations/{reservation['id']}")
    assert reply.status == 200, reply
    return reply.json


async def give_back(api: ApiClient, reservation: Mapping[str, Any]) -> Reply:
    return await api.call("DELETE", f"/v1/reservations/{reservation['id']}")


async def check_out(api: ApiClient, reservation: Mapping[str, Any]) -> Reply:
    return await api.call("POST", f"/v1/reservations/{reservation['id']}/checkout")


async def expire(
    running: Running, client: "redis.asyncio.Redis", reservation: Mapping[str, Any]
) -> None:
    """Let the time of a hold run out."""
    await move_due_into_the_past(client, reservation["id"])
    counts = await ExpiryWorker(running.service.stores, running.service.settings).run_once()
    assert counts == {"expired": 1}


async def test_a_reservation_has_every_member_and_get_shows_the_same(api: ApiClient) -> None:
    reply = await api.reserve("candidate-1", ("general", "qms"), ("jinan",))
    seen = await see(api, reply.json)

    assert reply.status == 201
    assert reply.headers["Location"] == f"/v1/reservations/{reply.json['id']}"
    assert "Idempotency-Replayed" not in reply.headers
    assert set(reply.json) == MEMBERS
    expected = {
        "exam": "exam-1",
        "candidate": "candidate-1",
        "venue": "jinan",
        "subjects": ["general", "qms"],
        "state": "held",
        "amount": 16000,
        "currency": "CNY",
        "payment": None,
    }
    assert {name: reply.json[name] for name in expected} == expected
    ttl = moment(reply.json["deadline"]) - moment(reply.json["created_at"])
    assert ttl == dt.timedelta(seconds=900)
    assert seen == reply.json


async def test_the_first_venue_with_every_subject_is_taken(
    api: ApiClient, evidence: Evidence
) -> None:
    await api.reserve("candidate-1", ("service",), ("jinan",))

    # jinan has no seat in service any more, beijing never had one in qms.
    fallback = await api.reserve("candidate-2", ("service", "qms"), ("jinan", "beijing", "tianjin"))
    first_choice = await api.reserve("candidate-3", ("qms",), ("jinan", "tianjin"))

    assert (fallback.status, fallback.json["venue"]) == (201, "tianjin")
    assert (first_choice.status, first_choice.json["venue"]) == (201, "jinan")
    await evidence.assert_books_balance()


async def test_when_one_subject_is_sold_out_none_is_taken_and_what_is_left_is_told(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    await api.reserve("candidate-1", ("service",), ("jinan",))
    await api.reserve("candidate-2", ("general",), ("beijing",))

    async with nothing_changes():
        reply = await api.reserve(
            "candidate-3", ("general", "service", "qms"), ("jinan", "beijing")
        )

    assert (reply.status, reply.slug) == (409, "sold-out")
    left = {(q["venue"], q["subject"]): q["remaining"] for q in reply.json["left"]}
    assert left == {
        ("jinan", "general"): 3,
        ("jinan", "service"): 0,
        ("jinan", "qms"): 2,
        ("beijing", "general"): 0,
        ("beijing", "service"): 1,
        ("beijing", "qms"): 0,
    }
    assert len(reply.json["left"]) == len(left)
    not_offered = [(q["venue"], q["subject"]) for q in reply.json["left"] if not q["offered"]]
    assert not_offered == [("beijing", "qms")]


async def test_a_subject_without_seats_that_is_offered_is_told_from_one_that_is_not(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    async with nothing_changes():
        reply = await api.reserve("candidate-1", ("ems",), ("tianjin", "beijing"))

    assert reply.slug == "sold-out"
    assert reply.json["left"] == [
        {"venue": "tianjin", "subject": "ems", "remaining": 0, "offered": True},
        {"venue": "beijing", "subject": "ems", "remaining": 0, "offered": False},
    ]
    Contract().check("POST /v1/exams/{exam}/reservations", reply)


async def test_a_session_conflict_names_the_reservation_that_stands(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    standing = await api.reserve("candidate-1", ("general", "qms"), ("jinan",))

    async with nothing_changes():
        other_venue = await api.reserve("candidate-1", ("ems",), ("tianjin",))
        same_subject = await api.reserve("candidate-1", ("general",), ("jinan",))

    for reply, session in ((other_venue, "day1-pm"), (same_subject, "day1-am")):
        assert (reply.status, reply.slug) == (409, "session-conflict")
        assert reply.json["session"] == session
        assert reply.json["reservation"] == standing.json["id"]


async def test_a_conflict_is_told_before_a_sold_out_venue(api: ApiClient) -> None:
    await api.reserve("candidate-1", ("service",), ("jinan",))

    reply = await api.reserve("candidate-1", ("service",), ("jinan",))

    assert reply.slug == "session-conflict"


async def test_other_sessions_of_the_same_candidate_stay_free(api: ApiClient) -> None:
    first = await api.reserve("candidate-1", ("general",), ("jinan",))
    second = await api.reserve("candidate-1", ("qms",), ("tianjin",))

    view = await api.get("/v1/exams/exam-1/candidates/candidate-1")

    assert (first.status, second.status) == (201, 201)
    assert view.json["registered"] is False
    assert [r["id"] for r in view.json["reservations"]] == [first.json["id"], second.json["id"]]


async def test_before_the_window_the_refusal_says_when_it_opens(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    definition = exam_definition("exam-2", opens_in_s=60)
    await api.import_exam(definition)

    async with nothing_changes():
        reply = await api.reserve(exam="exam-2")

    assert (reply.status, reply.slug) == (409, "registration-not-open")
    assert reply.json["opens_at"] == definition["registration"]["opens_at"]


async def test_after_the_window_registration_is_closed(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    await api.import_exam(exam_definition("exam-2", closes_in_s=-60))

    async with nothing_changes():
        reply = await api.reserve(exam="exam-2")

    assert (reply.status, reply.slug) == (409, "registration-closed")


async def test_a_hold_given_back_twice_comes_back_once(
    api: ApiClient, nothing_changes: NothingChanges, evidence: Evidence
) -> None:
    held = await api.reserve("candidate-1", ("general",), ("jinan",))

    first = await give_back(api, held.json)
    async with nothing_changes():
        again = await give_back(api, held.json)

    assert (first.status, first.json["state"]) == (200, "released")
    assert (again.status, again.body) == (200, first.body)
    assert await see(api, held.json) == first.json
    assert await api.remaining("jinan", "general") == 3
    await evidence.assert_books_balance()


async def test_the_session_is_free_again_after_a_release(api: ApiClient) -> None:
    held = await api.reserve("candidate-1", ("qms",), ("jinan",))
    await give_back(api, held.json)

    reply = await api.reserve("candidate-1", ("ems",), ("jinan",))

    assert reply.status == 201


async def test_a_booking_cannot_be_given_back_or_checked_out(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    held = await api.reserve()
    await api.pay(held.json, event="e-1")

    async with nothing_changes():
        deleted = await give_back(api, held.json)
        checked_out = await check_out(api, held.json)

    assert (deleted.status, deleted.slug) == (409, "already-confirmed")
    assert (checked_out.status, checked_out.slug) == (409, "already-confirmed")
    booked = await see(api, held.json)
    assert (booked["state"], booked["deadline"]) == ("confirmed", None)
    assert booked["payment"] == {
        "status": "captured",
        "outcome": "confirmed",
        "reason": None,
        "amount": 8000,
        "currency": "CNY",
        "paid_at": "2026-01-02T03:04:05.678Z",
        "provider_reference": "provider-e-1",
        "refunded_at": None,
        "disputed_at": None,
    }


async def test_checkout_moves_the_deadline_once(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    held = await api.reserve()

    first = await check_out(api, held.json)
    async with nothing_changes():
        again = await check_out(api, held.json)

    assert (first.status, again.status) == (200, 200)
    moved = moment(first.json["deadline"]) - moment(held.json["deadline"])
    assert moved == dt.timedelta(seconds=600)
    assert again.body == first.body
    assert await see(api, held.json) == first.json


async def test_many_checkouts_at_once_move_the_deadline_once(api: ApiClient) -> None:
    held = await api.reserve()

    replies = await asyncio.gather(*(check_out(api, held.json) for _ in range(20)))

    deadlines = {reply.json["deadline"] for reply in replies}
    assert len(deadlines) == 1
    moved = moment(deadlines.pop()) - moment(held.json["deadline"])
    assert moved == dt.timedelta(seconds=600)


async def test_what_has_ended_cannot_be_checked_out(
    running: Running, redis_client: "redis.asyncio.Redis", nothing_changes: NothingChanges
) -> None:
    api = running.client
    released = (await api.reserve("candidate-1")).json
    expired = (await api.reserve("candidate-2")).json
    await give_back(api, released)
    await expire(running, redis_client, expired)

    async with nothing_changes():
        replies = {
            "released": await check_out(api, released),
            "expired": await check_out(api, expired),
        }

    for state, reply in replies.items():
        assert (reply.status, reply.slug) == (409, "reservation-ended")
        assert reply.json["state"] == state


async def test_an_expired_hold_given_back_is_shown_as_it_ended(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve()).json
    await expire(running, redis_client, held)

    reply = await give_back(api, held)

    assert (reply.status, reply.json["state"]) == (200, "expired")
    assert await api.remaining("jinan", "general") == 3
    await evidence.assert_books_balance()


async def test_no_hold_is_released_before_its_deadline(running: Running) -> None:
    held = (await running.client.reserve()).json
    worker = ExpiryWorker(running.service.stores, running.service.settings)

    counts = await worker.run_once()

    assert counts == {"expired": 0}
    assert (await see(running.client, held))["state"] == "held"


async def test_the_notice_may_be_accepted_by_its_version_or_by_true(api: ApiClient) -> None:
    by_version = await api.reserve("candidate-1", accepted_notice="2023-1")
    by_true = await api.reserve("candidate-2", accepted_notice=True)

    assert (by_version.status, by_true.status) == (201, 201)


async def test_an_exam_tells_everything_but_its_seats(api: ApiClient) -> None:
    definition = exam_definition()
    await api.import_exam(definition)

    one = await api.get("/v1/exams/exam-1", key=None)
    every = await api.get("/v1/exams", key=None)

    told = one.json
    moment(told.pop("server_time"))
    del definition["seats"]
    assert told == definition
    assert [exam["id"] for exam in every.json["exams"]] == ["exam-1"]


async def test_importing_the_same_definition_again_changes_nothing(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    definition = exam_definition()
    await api.import_exam(definition)

    async with nothing_changes():
        again = await api.import_exam(definition)

    assert (again.status, again.json["created"], again.json["changes"]) == (200, False, [])
