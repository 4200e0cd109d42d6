"""What a candidate is shown: every reservation with its history, its payment and the refund."""

from collections.abc import Mapping
from typing import Any

import pytest
import redis.asyncio

from quota_service.domain.definition import rfc3339
from quota_service.domain.reservation import ReservationId
from quota_service.seats.keys import Shard
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.journal_drain import JournalDrainWorker
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.exams import exam_definition
from tests.support.records import move_due_into_the_past, redis_now_ms
from tests.support.refusals import assert_refused

Steps = list[tuple[str, str, str]]

BOOKED: Steps = [
    ("reserve", "held", "jinan"),
    ("pin", "confirming", "jinan"),
    ("confirm", "confirmed", "jinan"),
]


async def view(api: ApiClient, candidate: str = "candidate-1", *, exam: str = "exam-1") -> Any:
    reply = await api.get(f"/v1/exams/{exam}/candidates/{candidate}")
    assert reply.status == 200, reply
    return reply.json


def steps(reservation: Mapping[str, Any]) -> Steps:
    """Return the history without its times."""
    return [(step["step"], step["state"], step["venue"]) for step in reservation["history"]]


async def drain(running: Running) -> None:
    """Move everything in the journal to Postgres."""
    worker = JournalDrainWorker(running.service.stores.maintenance, running.service.settings)
    while (await worker.run_once())["stored"]:
        pass


async def hold(
    api: ApiClient, subjects: tuple[str, ...] = ("general",), candidate: str = "candidate-1"
) -> Any:
    reply = await api.reserve(candidate, subjects, ("jinan",))
    assert reply.status == 201, reply
    return reply.json


async def act(api: ApiClient, reservation: Mapping[str, Any], step: str) -> None:
    """Take one step with a reservation, as its candidate or the payment provider."""
    path = f"/v1/reservations/{reservation['id']}"
    match step:
        case "pay":
            reply = await api.pay(reservation)
        case "release":
            reply = await api.call("DELETE", path)
        case "checkout" | "refund":
            reply = await api.call("POST", f"{path}/{step}")
        case venue:
            reply = await api.call("PUT", f"{path}/venue", json={"venue": venue})
    assert reply.status == 200, reply


async def expire(
    running: Running, client: "redis.asyncio.Redis", reservation: Mapping[str, Any]
) -> None:
    """Let the time of a hold run out."""
    await move_due_into_the_past(client, reservation["id"])
    worker = ExpiryWorker(running.service.stores, running.service.settings)
    assert await worker.run_once() == {"expired": 1}


async def forget(client: "redis.asyncio.Redis", reservation: Mapping[str, Any]) -> None:
    """Let Redis have no record of a reservation any more."""
    parts = ReservationId.parse(reservation["id"])
    assert parts is not None
    key = Shard(parts.exam, 0).record_key(parts.serial)
    assert await client.delete(key) == 1


async def settle_all(api: ApiClient) -> list[Any]:
    """Say that all money due was sent back."""
    path = "/v1/exams/exam-1/refunds-due"
    page = (await api.get(path, key=api.ops_key)).json["refunds_due"]
    settled = [
        await api.call("POST", f"{path}/{due['id']}/settle", key=api.ops_key) for due in page
    ]
    assert [reply.status for reply in settled] == [200] * len(page)
    return [reply.json for reply in settled]


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], [("reserve", "held", "jinan")]),
        (["release"], [("reserve", "held", "jinan"), ("release", "released", "jinan")]),
        (["checkout"], [("reserve", "held", "jinan"), ("checkout", "held", "jinan")]),
        (["pay"], BOOKED),
        (
            ["tianjin", "pay"],
            [
                ("reserve", "held", "jinan"),
                ("change", "held", "tianjin"),
                ("pin", "confirming", "tianjin"),
                ("confirm", "confirmed", "tianjin"),
            ],
        ),
        (
            ["pay", "tianjin"],
            [
                *BOOKED,
                ("change", "changing_venue", "jinan"),
                ("settle_change", "confirmed", "tianjin"),
            ],
        ),
        (["pay", "refund"], [*BOOKED, ("refund", "refunded", "jinan")]),
        (
            ["checkout", "tianjin", "jinan", "pay", "tianjin", "refund"],
            [
                ("reserve", "held", "jinan"),
                ("checkout", "held", "jinan"),
                ("change", "held", "tianjin"),
                ("change", "held", "jinan"),
                ("pin", "confirming", "jinan"),
                ("confirm", "confirmed", "jinan"),
                ("change", "changing_venue", "jinan"),
                ("settle_change", "confirmed", "tianjin"),
                ("refund", "refunded", "tianjin"),
            ],
        ),
    ],
    ids=lambda value: "-".join(value) if value and isinstance(value[0], str) else "",
)
async def test_the_history_tells_every_step_in_order_with_state_and_venue(
    running: Running, taken: list[str], expected: Steps
) -> None:
    held = await hold(running.client)
    for step in taken:
        await act(running.client, held, step)
    await drain(running)

    (shown,) = (await view(running.client))["reservations"]

    assert steps(shown) == expected
    assert (shown["state"], shown["venue"]) == expected[-1][1:]


async def test_the_history_of_an_expired_hold_that_was_paid_late_tells_both(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    held = await hold(running.client)
    await expire(running, redis_client, held)
    await act(running.client, held, "pay")
    await drain(running)

    (shown,) = (await view(running.client))["reservations"]

    expired = ("expire", "expired", "jinan")
    assert steps(shown) == [BOOKED[0], expired, *BOOKED[1:]]


async def test_each_step_tells_when_it_was_by_the_clock_of_redis(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    held = await hold(running.client)
    for step in ("pay", "tianjin", "refund"):
        await act(running.client, held, step)
    await drain(running)
    now = rfc3339(await redis_now_ms(redis_client))

    (shown,) = (await view(running.client))["reservations"]

    times = [step["at"] for step in shown["history"]]
    assert [*times, now] == sorted([*times, now])
    assert times[0] == held["created_at"]
    in_journal = await redis_client.xlen(Shard("exam-1", 0).key("journal"))
    assert (len(times), in_journal) == (6, 0)


async def test_what_the_journal_has_not_brought_yet_is_missing_only_from_the_history(
    running: Running,
) -> None:
    held = await hold(running.client)
    await drain(running)
    await act(running.client, held, "pay")

    (behind,) = (await view(running.client))["reservations"]
    await drain(running)
    (shown,) = (await view(running.client))["reservations"]

    assert (behind["state"], steps(behind)) == ("confirmed", BOOKED[:1])
    assert behind["payment"]["outcome"] == "confirmed"
    assert shown == {**behind, "history": shown["history"]}
    assert steps(shown) == BOOKED


async def test_each_reservation_has_its_own_history_and_the_oldest_comes_first(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    api = running.client
    made = [await hold(api)]
    await act(api, made[0], "release")
    made.append(await hold(api))
    await expire(running, redis_client, made[1])
    made.append(await hold(api))
    await act(api, made[2], "pay")
    made.append(await hold(api, ("qms",)))
    other = await hold(api, candidate="candidate-2")
    await drain(running)

    shown = (await view(api))["reservations"]

    assert [each["id"] for each in shown] == [each["id"] for each in made]
    assert [each["state"] for each in shown] == ["released", "expired", "confirmed", "held"]
    assert [len(steps(each)) for each in shown] == [2, 2, 3, 1]
    assert [each["id"] for each in (await view(api, "candidate-2"))["reservations"]] == [
        other["id"]
    ]


async def test_a_refund_is_shown_with_its_money_and_once_ops_settled_it_with_the_time(
    running: Running,
) -> None:
    api = running.client
    held = await hold(api, ("general", "qms"))
    await act(api, held, "pay")
    before = await view(api)
    await act(api, held, "refund")

    refunded = await view(api)
    (settled,) = await settle_all(api)
    after = await view(api)

    assert (before["registered"], before["refund_used"], before["refund"]) == (True, False, None)
    assert (refunded["registered"], refunded["refund_used"]) == (False, True)
    refund = dict(refunded["refund"])
    assert refund.pop("refunded_at") == settled["due_at"]
    assert refund == {
        "reservation": held["id"],
        "amount": 16000,
        "currency": "CNY",
        "settled_at": None,
    }
    assert settled["settled_at"] is not None
    assert after["refund"] == {**refunded["refund"], "settled_at": settled["settled_at"]}
    (shown,) = after["reservations"]
    assert (shown["state"], shown["deadline"]) == ("refunded", None)
    assert shown["payment"]["outcome"] == "confirmed"


async def test_a_candidate_who_registers_again_has_both_and_the_refund_stays_used(
    running: Running,
) -> None:
    api = running.client
    old = await hold(api)
    await act(api, old, "pay")
    await act(api, old, "refund")
    new = await hold(api)
    await act(api, new, "pay")
    await drain(running)

    seen = await view(api)

    assert [(each["id"], each["state"]) for each in seen["reservations"]] == [
        (old["id"], "refunded"),
        (new["id"], "confirmed"),
    ]
    assert (seen["registered"], seen["refund_used"]) == (True, True)
    assert seen["refund"]["reservation"] == old["id"]


async def test_money_of_a_payment_that_was_refused_is_no_refund_of_the_candidates(
    running: Running,
) -> None:
    held = await hold(running.client)
    await running.client.pay(held, amount=1)

    seen = await view(running.client)

    assert (seen["refund_used"], seen["refund"]) == (False, None)
    assert seen["reservations"][0]["payment"]["reason"] == "wrong-amount"


@pytest.mark.parametrize(
    "taken",
    [["release"], ["pay"], ["pay", "tianjin"], ["pay", "refund"]],
    ids="-".join,
)
async def test_when_redis_has_forgotten_a_reservation_postgres_tells_the_same(
    running: Running, redis_client: "redis.asyncio.Redis", taken: list[str]
) -> None:
    held = await hold(running.client, ("general", "qms"))
    for step in taken:
        await act(running.client, held, step)
    await drain(running)
    before = await view(running.client)
    alone = await running.client.get(f"/v1/reservations/{held['id']}")

    await forget(redis_client, held)
    after = await view(running.client)
    alone_after = await running.client.get(f"/v1/reservations/{held['id']}")

    assert after == before
    assert after["reservations"][0]["history"]
    assert alone_after.json == alone.json


@pytest.mark.parametrize(
    ("drained", "undrained", "state"),
    [
        ([], ["pay"], "confirmed"),
        (["pay"], ["tianjin"], "confirmed"),
        (["pay"], ["refund"], "refunded"),
    ],
    ids=["booked", "moved", "refunded"],
)
async def test_what_postgres_decided_is_shown_though_redis_forgot_and_the_journal_is_behind(
    running: Running,
    redis_client: "redis.asyncio.Redis",
    drained: list[str],
    undrained: list[str],
    state: str,
) -> None:
    api = running.client
    held = await hold(api)
    for step in drained:
        await act(api, held, step)
    await drain(running)
    for step in undrained:
        await act(api, held, step)
    before = await view(api)

    await forget(redis_client, held)
    after = await view(api)

    assert before["reservations"][0]["state"] == state
    assert after == before


async def test_an_unknown_candidate_has_nothing(
    running: Running, nothing_changes: NothingChanges
) -> None:
    await hold(running.client)

    async with nothing_changes():
        seen = await view(running.client, "candidate-9")

    assert seen == {
        "exam": "exam-1",
        "candidate": "candidate-9",
        "registered": False,
        "refund_used": False,
        "refund": None,
        "reservations": [],
        "waiting_list": [],
        "refusals": [],
    }


async def test_what_a_candidate_has_in_one_exam_is_not_shown_in_another(running: Running) -> None:
    api = running.client
    await api.import_exam(exam_definition("exam-2"))
    held = await hold(api)
    await act(api, held, "pay")
    await act(api, held, "refund")
    await drain(running)

    elsewhere = await view(api, exam="exam-2")
    unknown = await api.get("/v1/exams/exam-9/candidates/candidate-1")

    assert (elsewhere["reservations"], elsewhere["refund"]) == ([], None)
    assert_refused(unknown, 404, "unknown-exam")
