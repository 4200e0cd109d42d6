"""One payment, one reference, under whatever event ids the provider tells of it."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.registration.audit import audit
from quota_service.registration.confirm import confirm
from quota_service.settings import Settings
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.records import move_due_into_the_past
from tests.support.refusals import assert_refused
from tests.support.use_cases import hold, payment


def ending(reply: Reply) -> tuple[str, str | None]:
    assert reply.status == 200, reply
    return reply.json["outcome"], reply.json.get("reason")


async def held(api: ApiClient, candidate: str = "candidate-1") -> Any:
    reply = await api.reserve(candidate, venues=("tianjin",))
    assert reply.status == 201, reply
    return reply.json


async def due(api: ApiClient) -> list[tuple[str, str]]:
    """Return event and reason of all money that has to go back."""
    reply = await api.get("/v1/refunds-due", key=api.ops_key)
    return [(each["event"], each["reason"]) for each in reply.json["refunds_due"]]


async def state_of(api: ApiClient, reservation: Mapping[str, Any]) -> str:
    return str((await api.get(f"/v1/reservations/{reservation['id']}")).json["state"])


async def check(running: Running, evidence: Evidence) -> None:
    """Fail unless the books balance and every payment has its end."""
    await evidence.assert_books_balance()
    found = await audit(running.service.stores.maintenance, "exam-1")
    assert found.differences == ()


async def test_a_payment_that_is_told_under_another_event_id_is_answered_as_the_first(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    reservation = await held(api)

    first = await api.pay(reservation, event="e-1", provider_reference="bank 1")
    again = [
        await api.pay(reservation, event=event, provider_reference="bank 1")
        for event in ("e-2", "e-3", "e-2")
    ]

    assert ending(first) == ("confirmed", None)
    assert [reply.body for reply in again] == [first.body] * 3
    assert await due(api) == []
    assert await evidence.bookings() == [reservation["id"]]
    rows = await evidence.rows("SELECT event, repeats FROM payment_events ORDER BY event")
    assert [tuple(row) for row in rows] == [("e-1", None), ("e-2", "e-1"), ("e-3", "e-1")]
    await check(running, evidence)


async def test_the_payment_of_a_refunded_booking_told_again_is_not_due_twice(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    reservation = await held(api)
    first = await api.pay(reservation, event="e-1", provider_reference="bank 1")
    await api.call("POST", f"/v1/reservations/{reservation['id']}/refund")

    again = await api.pay(reservation, event="e-2", provider_reference="bank 1")

    assert again.body == first.body
    assert await due(api) == [("e-1", "refunded")]
    await check(running, evidence)


async def test_money_that_is_due_back_is_due_once_however_often_it_is_told(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    reservation = await held(api)

    ends = [
        ending(await api.pay(reservation, event=event, amount=5, provider_reference="bank 1"))
        for event in ("e-1", "e-2")
    ]

    assert ends == [("refund_due", "wrong-amount")] * 2
    assert await due(api) == [("e-1", "wrong-amount")]
    assert await state_of(api, reservation) == "held"
    await check(running, evidence)


async def test_a_reference_on_another_reservation_goes_to_a_person_and_books_nothing(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    first, second = await held(api), await held(api, "candidate-2")
    await api.pay(first, event="e-1", provider_reference="bank 1")

    ends = [
        ending(await api.pay(second, event=event, provider_reference="bank 1"))
        for event in ("e-2", "e-3", "e-2")
    ]

    assert ends == [("refund_due", "reference-reused")] * 3
    assert await due(api) == [("e-2", "reference-reused")]
    assert await state_of(api, second) == "held"
    assert ending(await api.pay(second, event="e-4")) == ("confirmed", None)
    assert await evidence.bookings() == sorted([first["id"], second["id"]])
    await check(running, evidence)


async def test_a_reference_with_other_money_goes_to_a_person(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    reservation = await held(api)
    await api.pay(reservation, event="e-1", provider_reference="bank 1")

    ends = [
        ending(await api.pay(reservation, event=event, provider_reference="bank 1", **money))
        for event, money in (("e-2", {"amount": 7999}), ("e-3", {"currency": "USD"}))
    ]

    assert ends == [("refund_due", "reference-reused")] * 2
    assert await due(api) == [("e-2", "reference-reused"), ("e-3", "reference-reused")]
    await check(running, evidence)


async def test_a_repeat_of_a_late_payment_that_was_sold_out_takes_no_seat_that_is_free_by_then(
    running: Running, evidence: Evidence, redis_client: Any
) -> None:
    api = running.client
    late = (await api.reserve("late", ("service",), ("jinan",))).json
    await move_due_into_the_past(redis_client, late["id"])
    stores = running.service.stores
    shard, serial = stores.registry.locate(late["id"])
    assert (await stores.seats.expire(shard, [serial]))[0] == 1
    quicker = (await api.reserve("quicker", ("service",), ("jinan",))).json
    first = await api.pay(late, event="e-1", provider_reference="bank 1")
    await api.call("DELETE", f"/v1/reservations/{quicker['id']}")

    again = await api.pay(late, event="e-2", provider_reference="bank 1")

    assert ending(first) == ("refund_due", "sold-out")
    assert again.body == first.body
    assert await state_of(api, late) == "expired"
    assert await due(api) == [("e-1", "sold-out")]
    await check(running, evidence)


async def test_of_many_events_with_one_reference_at_once_one_books_and_each_reservation_is_due_once(
    running: Running, evidence: Evidence, settings: Settings
) -> None:
    api = running.client
    reservations = [await hold(running.service, f"c-{i}", "tianjin") for i in range(3)]
    async with open_service(settings) as other:
        await refresh_memory(other)
        payments = [
            (stores, payment(reservation, f"e-{i}-{k}"))
            for k in range(8)
            for i, reservation in enumerate(reservations)
            for stores in ((running.service, other)[k % 2].stores,)
        ]
        for _, event in payments:
            object.__setattr__(event, "provider_reference", "bank 1")

        ends = await asyncio.gather(
            *(confirm(stores.payments, event) for stores, event in payments)
        )

    assert len({(end.reservation, end.outcome) for end in ends}) == 3
    assert Counter(end.outcome for end in ends) == {"confirmed": 8, "refund_due": 16}
    assert [reason for _, reason in await due(api)] == ["reference-reused"] * 2
    assert len(await evidence.bookings()) == 1
    await check(running, evidence)


@pytest.mark.parametrize("status", ["refunded", "disputed"])
async def test_what_becomes_of_the_money_later_is_recorded_and_shown(
    running: Running, evidence: Evidence, status: str
) -> None:
    api = running.client
    reservation = await held(api)
    await api.pay(reservation, event="e-1", provider_reference="bank 1")
    path = f"/v1/reservations/{reservation['id']}"
    before = (await api.get(path)).json["payment"]
    later = {"status": status, "paid_at": "2026-02-03T04:05:06Z", "provider_reference": "bank 1"}

    ends = [await api.pay(reservation, event="e-2", **later) for _ in range(2)]

    shown = (await api.get(path)).json
    assert [ending(end) for end in ends] == [("recorded", None)] * 2
    assert (before["refunded_at"], before["disputed_at"]) == (None, None)
    expected = {**before, f"{status}_at": "2026-02-03T04:05:06.000Z"}
    assert (shown["state"], shown["payment"]) == ("confirmed", expected)
    assert await evidence.payments() == {"e-1": ("confirmed", None), "e-2": ("recorded", None)}
    await check(running, evidence)


async def test_money_that_is_due_and_that_the_provider_sent_back_says_so(api: ApiClient) -> None:
    reservation = await held(api)
    await api.pay(reservation, event="e-1", amount=5, provider_reference="bank 1")
    await api.pay(
        reservation, event="e-2", amount=5, status="refunded", provider_reference="bank 1"
    )

    (each,) = (await api.get("/v1/refunds-due", key=api.ops_key)).json["refunds_due"]

    assert (each["event"], each["settled_at"], each["disputed_at"]) == ("e-1", None, None)
    assert each["refunded_at"] == "2026-01-02T03:04:05.678Z"
    settled = await api.call("POST", f"/v1/refunds-due/{each['id']}/settle", key=api.ops_key)
    assert settled.json["refunded_at"] == each["refunded_at"]


async def test_what_names_no_exam_is_listed_once_and_settled_there(api: ApiClient) -> None:
    await api.pay("nobody", event="of-none")
    await api.pay(f"exam-1.0.{'a' * 24}", event="of-1")

    async def listed(path: str) -> list[str]:
        reply = await api.get(path, key=api.ops_key)
        assert reply.status == 200, reply
        return [each["event"] for each in reply.json["refunds_due"]]

    lists = {
        path: await listed(path)
        for path in (
            "/v1/refunds-due",
            "/v1/refunds-due?exam=exam-1",
            "/v1/refunds-due?exam=",
            "/v1/exams/exam-1/refunds-due",
        )
    }
    assert list(lists.values()) == [["of-none", "of-1"], ["of-1"], ["of-none"], ["of-1"]]
    page = await api.get("/v1/refunds-due?limit=1", key=api.ops_key)
    (none,) = page.json["refunds_due"]
    of_an_exam = f"/v1/exams/exam-1/refunds-due/{none['id']}/settle"
    assert_refused(await api.call("POST", of_an_exam, key=api.ops_key), 404, "unknown-refund")
    settled = await api.call("POST", f"/v1/refunds-due/{none['id']}/settle", key=api.ops_key)
    assert (page.json["exam"], page.json["next"], settled.status) == (None, none["id"], 200)
    assert await listed("/v1/refunds-due") == ["of-1"]
    unknown = await api.get("/v1/refunds-due?exam=exam-9", key=api.ops_key)
    assert_refused(unknown, 404, "unknown-exam")
    wrong = await api.get("/v1/refunds-due?exams=exam-1", key=api.ops_key)
    assert_refused(wrong, 422, "invalid-request", "exams")
