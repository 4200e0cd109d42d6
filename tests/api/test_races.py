"""Many at once: the last seats, one candidate everywhere, and all the ends of one hold."""

import asyncio
import itertools
from collections import Counter
from typing import Any

import pytest
import redis.asyncio

from quota_service.workers.expiry import ExpiryWorker
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.records import move_due_into_the_past

FEW_SEATS = {"jinan": {"general": 4, "qms": 9}, "tianjin": {"general": 3, "qms": 9}}


async def import_few_seats(api: ApiClient) -> None:
    definition = exam_definition("exam-2", seats=FEW_SEATS)
    definition["subjects"] = [s for s in definition["subjects"] if s["id"] in ("general", "qms")]
    reply = await api.import_exam(definition)
    assert reply.status == 201, reply


async def test_of_four_hundred_who_want_the_last_seven_seats_exactly_seven_get_one(
    api: ApiClient, evidence: Evidence
) -> None:
    await import_few_seats(api)
    choices = [("jinan", "tianjin"), ("tianjin", "jinan")]

    replies = await asyncio.gather(
        *(
            api.reserve(f"candidate-{i}", ("general", "qms"), choices[i % 2], exam="exam-2")
            for i in range(400)
        )
    )

    assert Counter(reply.status for reply in replies) == {201: 7, 409: 393}
    refused = [reply for reply in replies if reply.status == 409]
    assert {reply.slug for reply in refused} == {"sold-out"}
    for reply in refused:
        assert {q["remaining"] for q in reply.json["left"] if q["subject"] == "general"} == {0}
        assert len(reply.json["left"]) == 4
    winners = Counter(reply.json["venue"] for reply in replies if reply.status == 201)
    assert winners == {"jinan": 4, "tianjin": 3}
    assert await api.remaining("jinan", "general", exam="exam-2") == 0
    await evidence.assert_books_balance("exam-2")


async def test_the_seven_who_won_can_all_pay_and_nobody_else_can(
    api: ApiClient, evidence: Evidence
) -> None:
    await import_few_seats(api)
    asked = [
        api.reserve(f"candidate-{i}", ("general",), ("jinan", "tianjin"), exam="exam-2")
        for i in range(60)
    ]
    won = [reply.json for reply in await asyncio.gather(*asked) if reply.status == 201]

    paid = await asyncio.gather(*(api.pay(held) for held in won))

    assert len(won) == 7
    assert [reply.json["outcome"] for reply in paid] == ["confirmed"] * 7
    assert sorted(held["id"] for held in won) == await evidence.bookings()
    await evidence.assert_books_balance("exam-2")


async def test_one_candidate_who_asks_everywhere_at_once_gets_one_seat_a_session(
    api: ApiClient, evidence: Evidence
) -> None:
    wishes = itertools.cycle([("qms",), ("ems",), ("general", "qms"), ("service", "ems")])
    venues = itertools.cycle([("jinan", "tianjin"), ("tianjin", "jinan")])

    replies = await asyncio.gather(
        *(api.reserve("candidate-1", next(wishes), next(venues)) for _ in range(50))
    )

    won = [reply for reply in replies if reply.status == 201]
    assert len(won) == 1
    refused = [reply for reply in replies if reply.status != 201]
    # tianjin has no seat in ems, so not everyone comes as far as the conflict.
    assert {reply.slug for reply in refused} <= {"session-conflict", "sold-out"}
    conflicts = [reply.json for reply in refused if reply.slug == "session-conflict"]
    assert conflicts
    assert {conflict["reservation"] for conflict in conflicts} == {won[0].json["id"]}
    await evidence.assert_books_balance()


async def test_one_request_sent_fifty_times_at_once_is_answered_the_same_fifty_times(
    api: ApiClient, evidence: Evidence
) -> None:
    replies = await asyncio.gather(
        *(api.reserve("candidate-1", idempotency_key="key-a") for _ in range(50))
    )

    assert {reply.status for reply in replies} == {201}
    assert len({reply.body for reply in replies}) == 1
    replayed = Counter("Idempotency-Replayed" in reply.headers for reply in replies)
    assert replayed == {False: 1, True: 49}
    assert await api.remaining("jinan", "general") == 2
    await evidence.assert_books_balance()


async def test_one_key_with_two_bodies_at_once_serves_one_of_them(
    api: ApiClient, evidence: Evidence
) -> None:
    bodies = [("general",), ("service",)] * 20

    replies = await asyncio.gather(
        *(api.reserve("candidate-1", wish, ("tianjin",), idempotency_key="a") for wish in bodies)
    )

    served = {tuple(r.json["subjects"]) for r in replies if r.status == 201}
    assert len(served) == 1
    assert Counter(r.status for r in replies) == {201: 20, 422: 20}
    assert {r.slug for r in replies if r.status == 422} == {"idempotency-key-reused"}
    await evidence.assert_books_balance()


@pytest.mark.parametrize("attempt", range(6))
async def test_a_hold_that_is_paid_released_and_expired_at_once_ends_once(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence, attempt: int
) -> None:
    api = running.client
    held = (await api.reserve("candidate-1", ("general", "service"), ("jinan",))).json
    path = f"/v1/reservations/{held['id']}"
    await move_due_into_the_past(redis_client, held["id"])
    steps: list[Any] = [
        *(api.call("DELETE", path) for _ in range(3)),
        *(api.pay(held, event=f"e-{i}") for i in range(3)),
        *(
            ExpiryWorker(running.service.stores, running.service.settings).run_once()
            for _ in range(3)
        ),
        *(api.call("POST", f"{path}/checkout") for _ in range(2)),
    ]
    # Another order each time, so that each kind of step comes first in some attempt.
    turned = [*steps[attempt * 2 :], *steps[: attempt * 2]]

    answers = await asyncio.gather(*turned)

    assert all(answer.status < 500 for answer in answers if isinstance(answer, Reply))
    expired = sum(answer["expired"] for answer in answers if not isinstance(answer, Reply))
    state = (await api.get(path)).json["state"]
    recorded = Counter((await evidence.payments()).values())
    assert sum(recorded.values()) == 3
    assert expired <= 1
    if state == "confirmed":
        assert recorded[("confirmed", None)] == 1
        assert recorded[("refund_due", "already-paid")] == 2
        assert await evidence.bookings() == [held["id"]]
    else:
        assert (state, await evidence.bookings()) == ("released", [])
        assert {outcome for outcome, _ in recorded} == {"refund_due"}
    await evidence.assert_books_balance()


async def test_seats_that_come_back_while_hundreds_ask_are_sold_once_each(
    api: ApiClient, evidence: Evidence
) -> None:
    await import_few_seats(api)
    first = await asyncio.gather(
        *(
            api.reserve(f"early-{i}", ("general",), ("jinan", "tianjin"), exam="exam-2")
            for i in range(7)
        )
    )
    given_back = [
        api.call("DELETE", f"/v1/reservations/{reply.json['id']}")
        for reply in first
        for _ in (1, 2)
    ]
    asked = [
        api.reserve(f"late-{i}", ("general",), ("tianjin", "jinan"), exam="exam-2")
        for i in range(150)
    ]
    mixed = [step for pair in itertools.zip_longest(asked, given_back) for step in pair if step]

    replies = await asyncio.gather(*mixed)

    assert {reply.status for reply in replies} <= {200, 201, 409}
    won = sum(reply.status == 201 for reply in replies)
    left = [await api.remaining(venue, "general", exam="exam-2") for venue in FEW_SEATS]
    assert won + sum(left) == 7
    await evidence.assert_books_balance("exam-2")


async def test_late_payments_and_new_reservations_never_share_the_last_seat(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = running.client
    worker = ExpiryWorker(running.service.stores, running.service.settings)
    late = (await api.reserve("late", ("service",), ("beijing",))).json
    await move_due_into_the_past(redis_client, late["id"])
    assert await worker.run_once() == {"expired": 1}

    paid, *asked = await asyncio.gather(
        api.pay(late),
        *(api.reserve(f"candidate-{i}", ("service",), ("beijing",)) for i in range(20)),
    )

    won = sum(reply.status == 201 for reply in asked)
    assert paid.json["outcome"] == ("refund_due" if won else "confirmed")
    assert won <= 1
    await evidence.assert_books_balance()
