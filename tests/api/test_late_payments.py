"""Payments that come after the deadline of their hold."""

from collections.abc import Mapping
from typing import Any

import pytest
import redis.asyncio

from quota_service.workers.expiry import ExpiryWorker
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.records import move_due_into_the_past


def ending(reply: Reply) -> tuple[str, str | None]:
    """Return outcome and reason of a callback's answer."""
    assert reply.status == 200, reply
    return reply.json["outcome"], reply.json.get("reason")


async def state_of(api: ApiClient, reservation: Mapping[str, Any]) -> str:
    reply = await api.get(f"/v1/reservations/{reservation['id']}")
    return str(reply.json["state"])


async def expire(
    running: Running, client: "redis.asyncio.Redis", reservation: Mapping[str, Any]
) -> None:
    """Let the time of a hold run out."""
    await move_due_into_the_past(client, reservation["id"])
    worker = ExpiryWorker(running.service.stores, running.service.settings)
    assert await worker.run_once() == {"expired": 1}


async def test_a_late_payment_takes_its_seats_again_while_they_are_there(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve("candidate-1", ("general", "service"), ("jinan",))).json
    await expire(running, redis_client, held)
    assert await state_of(api, held) == "expired"

    paid = await api.pay(held)

    assert ending(paid) == ("confirmed", None)
    assert await state_of(api, held) == "confirmed"
    assert await api.remaining("jinan", "service") == 0
    await evidence.assert_books_balance()


async def test_a_payment_between_the_deadline_and_the_expiry_confirms(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve()).json
    await move_due_into_the_past(redis_client, held["id"])

    paid = await api.pay(held)
    worker = ExpiryWorker(running.service.stores, running.service.settings)

    assert ending(paid) == ("confirmed", None)
    assert await worker.run_once() == {"expired": 0}
    await evidence.assert_books_balance()


async def test_a_late_payment_without_a_seat_is_due_back(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve("candidate-1", ("general", "service"), ("jinan",))).json
    await expire(running, redis_client, held)
    await api.reserve("candidate-2", ("service",), ("jinan",))

    late = await api.pay(held, event="e-1")
    shown = (await api.get(f"/v1/reservations/{held['id']}")).json

    assert ending(late) == ("refund_due", "sold-out")
    assert (shown["state"], shown["payment"]["reason"]) == ("expired", "sold-out")
    # The seat in the other subject was not taken either.
    assert await api.remaining("jinan", "general") == 3
    await evidence.assert_books_balance()


@pytest.mark.parametrize("other_is_paid", [False, True])
async def test_a_late_payment_whose_session_is_taken_by_another_reservation_is_due_back(
    running: Running,
    redis_client: "redis.asyncio.Redis",
    evidence: Evidence,
    *,
    other_is_paid: bool,
) -> None:
    api = running.client
    held = (await api.reserve("candidate-1", ("general", "qms"), ("jinan",))).json
    await expire(running, redis_client, held)
    other = (await api.reserve("candidate-1", ("ems",), ("jinan",))).json
    if other_is_paid:
        await api.pay(other)

    late = await api.pay(held)

    assert ending(late) == ("refund_due", "session-conflict")
    assert await state_of(api, held) == "expired"
    assert await state_of(api, other) == ("confirmed" if other_is_paid else "held")
    await evidence.assert_books_balance()


async def test_a_refused_payment_that_is_repeated_is_refused_again_and_keeps_no_seat(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve("candidate-1", ("service",), ("jinan",))).json
    await expire(running, redis_client, held)
    other = (await api.reserve("candidate-2", ("service",), ("jinan",))).json
    late = await api.pay(held, event="e-1")
    await api.call("DELETE", f"/v1/reservations/{other['id']}")

    again = await api.pay(held, event="e-1")
    worker = ExpiryWorker(running.service.stores, running.service.settings)
    await worker.run_once()

    assert ending(late) == ending(again) == ("refund_due", "sold-out")
    assert await state_of(api, held) == "expired"
    assert await api.remaining("jinan", "service") == 1
    await evidence.assert_books_balance()
