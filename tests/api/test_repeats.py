"""The Idempotency-Key: a repeated order has one effect and one answer."""

from collections.abc import Mapping
from typing import Any

import pytest
import redis.asyncio

from quota_service.workers.expiry import ExpiryWorker
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.lost_shards import drain
from tests.support.records import move_due_into_the_past


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


async def forget(
    running: Running, client: "redis.asyncio.Redis", reservation: Mapping[str, Any]
) -> None:
    """Let the record of what has ended have been kept for as long as it is."""
    await drain(running.service)
    shard, serial = running.service.stores.registry.locate(reservation["id"])
    assert await client.delete(shard.record_key(serial)) == 1


async def test_a_repeated_request_is_answered_the_same_and_takes_nothing_more(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    first = await api.reserve(idempotency_key="key-a")

    async with nothing_changes():
        again = await api.reserve(idempotency_key="key-a")

    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]


@pytest.mark.parametrize(
    "what",
    [
        *("confirmed", "released", "expired", "checked out", "window closed", "notice changed"),
        "released long ago",
    ],
)
async def test_a_repeat_is_answered_as_the_first_whatever_happened_since(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence, what: str
) -> None:
    api = running.client
    first = await api.reserve("candidate-1", idempotency_key="key-a")
    changed = exam_definition()
    match what:
        case "confirmed":
            assert (await api.pay(first.json)).json["outcome"] == "confirmed"
        case "released":
            assert (await give_back(api, first.json)).status == 200
        case "released long ago":
            assert (await give_back(api, first.json)).status == 200
            await forget(running, redis_client, first.json)
        case "expired":
            await expire(running, redis_client, first.json)
        case "checked out":
            assert (await check_out(api, first.json)).status == 200
        case "window closed":
            changed = exam_definition(closes_in_s=-1)
        case "notice changed":
            changed["notice"]["version"] = "2023-2"
    assert (await api.import_exam(changed)).status == 200

    again = await api.reserve("candidate-1", idempotency_key="key-a")
    other_body = await api.reserve("candidate-1", ("qms",), idempotency_key="key-a")
    fresh = await api.reserve("candidate-2", idempotency_key="key-a")

    assert again.body == first.body
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert other_body.slug == "idempotency-key-reused"
    refused = {"window closed": "registration-closed", "notice changed": "notice-not-accepted"}
    if what in refused:
        assert fresh.slug == refused[what]
    else:
        assert fresh.status == 201
    await evidence.assert_books_balance()


@pytest.mark.parametrize(
    "changed",
    [
        {"subjects": ["qms"]},
        {"subjects": ["general", "qms"]},
        {"venues": ["tianjin"]},
        {"venues": ["jinan", "tianjin"]},
        {"accepted_notice": True},
    ],
)
async def test_the_same_key_with_another_body_is_refused(
    api: ApiClient, nothing_changes: NothingChanges, changed: dict[str, Any]
) -> None:
    await api.reserve("candidate-1", ("general",), ("jinan",), idempotency_key="key-a")
    body = {
        "candidate": "candidate-1",
        "subjects": ["general"],
        "venues": ["jinan"],
        "accepted_notice": "2023-1",
        **changed,
    }

    async with nothing_changes():
        reply = await api.call(
            "POST",
            "/v1/exams/exam-1/reservations",
            json=body,
            headers={"Idempotency-Key": "key-a"},
        )

    assert (reply.status, reply.slug) == (422, "idempotency-key-reused")
    assert [error["field"] for error in reply.json["errors"]] == ["Idempotency-Key"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"subjects": ("general", "service")}, {"subjects": ("general,service",)}),
        ({"accepted_notice": True}, {"accepted_notice": "True"}),
    ],
)
async def test_another_body_is_told_even_where_it_reads_alike(
    api: ApiClient, first: dict[str, Any], second: dict[str, Any]
) -> None:
    held = await api.reserve("candidate-1", venues=("tianjin",), idempotency_key="a", **first)

    reply = await api.reserve("candidate-1", venues=("tianjin",), idempotency_key="a", **second)

    assert held.status == 201
    assert reply.status == 422


async def test_a_refused_request_may_be_repeated_and_succeeds_when_seats_come_back(
    api: ApiClient,
) -> None:
    holder = await api.reserve("candidate-1", ("service",), ("jinan",))
    refused = await api.reserve("candidate-2", ("service",), ("jinan",), idempotency_key="b")

    await give_back(api, holder.json)
    again = await api.reserve("candidate-2", ("service",), ("jinan",), idempotency_key="b")

    assert refused.slug == "sold-out"
    assert again.status == 201
    assert "Idempotency-Replayed" not in again.headers
