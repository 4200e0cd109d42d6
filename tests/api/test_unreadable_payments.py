"""Payment events that are rightly signed and cannot be understood: none goes without a trace."""

import base64
import json
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import LedgerUnavailable
from quota_service.ledger.unreadable_payments import UnreadablePayments
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.refusals import PAYMENT, assert_refused

LIST = "/v1/unreadable-payments"


async def listed(api: ApiClient, query: str = "") -> Any:
    reply = await api.get(f"{LIST}{query}", key=api.ops_key)
    assert reply.status == 200, reply
    return reply.json["unreadable_payments"]


async def settle(api: ApiClient, number: object) -> Reply:
    return await api.call("POST", f"{LIST}/{number}/settle", key=api.ops_key)


def counted(service: Service) -> float | None:
    registry = service.stores.metrics.registry
    return registry.get_sample_value("quota_payment_events_unreadable_total")


def sent(**members: Any) -> bytes:
    return json.dumps({**PAYMENT, **members}).encode()


async def test_a_member_that_the_contract_does_not_know_is_passed_over(
    api: ApiClient, evidence: Evidence
) -> None:
    held = (await api.reserve()).json
    body = sent(reservation=held["id"], fee=48)

    paid = await api.callback(body, event="e-1")
    again = await api.callback(sent(reservation=held["id"], fee=49), event="e-1")

    assert paid.json == {"outcome": "confirmed", "reservation": held["id"]}
    assert again.body == paid.body
    assert await evidence.bookings() == [held["id"]]
    assert await listed(api) == []


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (sent(amount=8000.0), 422, "invalid-request"),
        (sent(paid_at="2016-12-31T23:59:60Z"), 422, "invalid-request"),
        (sent(status="chargeback", colour="red"), 422, "invalid-request"),
        (b"[]", 422, "invalid-request"),
        (b"", 400, "malformed-json"),
        (b'{"reservation": "\x00\xff', 400, "malformed-json"),
    ],
    ids=["fraction", "leap second", "unknown status", "no object", "empty", "no text"],
)
async def test_what_cannot_be_understood_is_refused_counted_and_listed_with_its_bytes(
    running: Running, evidence: Evidence, body: bytes, status: int, slug: str
) -> None:
    api = running.client

    replies = [await api.callback(body, event="e-1")]
    await evidence.rows("UPDATE unreadable_payments SET received_at = '2026-01-02T03:04:05Z'")
    replies += [await api.callback(body, event="e-1") for _ in range(2)]

    assert [(reply.status, reply.slug) for reply in replies] == [(status, slug)] * 3
    (entry,) = await listed(api)
    assert base64.b64decode(entry["body_base64"]) == body
    assert entry["body"] == body.decode(errors="replace")
    assert (entry["event"], entry["deliveries"], entry["settled_at"]) == ("e-1", 3, None)
    assert entry["problem"]
    assert entry["received_at"] == "2026-01-02T03:04:05.000Z"
    assert entry["last_received_at"] > "2026-01-02T03:04:05.000Z"
    assert counted(running.service) == 3


async def test_an_event_id_that_cannot_be_one_is_kept_with_the_event(api: ApiClient) -> None:
    for event in ("e" * 256, "\u00e9-1"):
        assert_refused(
            await api.callback(sent(), event=event), 422, "invalid-request", "webhook-id"
        )

    assert [entry["event"] for entry in await listed(api)] == ["e" * 255, "\u00e9-1"]


async def test_an_event_that_is_told_again_in_words_that_can_be_understood_leaves_the_list(
    running: Running,
) -> None:
    api = running.client
    held = (await api.reserve()).json
    await api.callback(sent(reservation=held["id"], amount=8000.0), event="e-1")
    await running.service.health.refresh()
    before = running.service.health.warnings.get("payments")

    paid = await api.callback(sent(reservation=held["id"]), event="e-1")

    await running.service.health.refresh()
    assert before == "1 payment events could not be understood"
    assert paid.json["outcome"] == "confirmed"
    assert await listed(api) == []
    assert "payments" not in running.service.health.warnings


async def test_an_event_under_the_id_of_another_is_kept_until_it_is_settled(
    running: Running,
) -> None:
    api = running.client
    held = (await api.reserve()).json
    other = (await api.reserve("candidate-2")).json
    await api.callback(sent(reservation=held["id"]), event="e-1")
    body = sent(reservation=other["id"], provider_reference="provider-2")

    refused = [await api.callback(body, event="e-1") for _ in range(2)]

    assert [reply.slug for reply in refused] == ["event-id-reused"] * 2
    (entry,) = await listed(api)
    assert (entry["body"], entry["deliveries"]) == (body.decode(), 2)
    assert counted(running.service) == 2
    await settle(api, entry["id"])
    assert await listed(api) == []


async def test_an_entry_is_settled_once_and_leaves_the_list(api: ApiClient) -> None:
    await api.callback(b"{}", event="e-1")
    (entry,) = await listed(api)

    first, again = await settle(api, entry["id"]), await settle(api, entry["id"])

    assert first.status == 200
    assert first.json == {**entry, "settled_at": first.json["settled_at"]}
    assert again.body == first.body
    assert await listed(api) == []
    await api.callback(b"{}", event="e-1")
    assert await listed(api) == []


async def test_entries_come_in_pages(api: ApiClient) -> None:
    for i in range(3):
        await api.callback(b"{}", event=f"e-{i}")

    page = (await api.get(f"{LIST}?limit=2", key=api.ops_key)).json
    rest = (await api.get(f"{LIST}?limit=2&after={page['next']}", key=api.ops_key)).json

    assert [each["event"] for each in page["unreadable_payments"]] == ["e-0", "e-1"]
    assert ([each["event"] for each in rest["unreadable_payments"]], rest["next"]) == (
        ["e-2"],
        None,
    )


async def test_only_ops_may_look_and_settle_and_what_is_not_there_is_unknown(
    api: ApiClient,
) -> None:
    await api.callback(b"{}", event="e-1")
    (entry,) = await listed(api)

    for method, path in (("GET", LIST), ("POST", f"{LIST}/{entry['id']}/settle")):
        assert_refused(await api.call(method, path), 403, "forbidden")
        assert_refused(await api.call(method, path, key=None), 401, "unauthorized")
    for number in ("0", "abc", int(entry["id"]) + 1, 2**63):
        assert_refused(await settle(api, number), 404, "unknown-payment")
    assert await listed(api) == [entry]


async def test_what_is_not_signed_is_not_kept(api: ApiClient) -> None:
    refused = await api.callback(b"{}", secret=b"a secret of somebody else, entirely")

    assert_refused(refused, 401, "unauthorized")
    assert await listed(api) == []


async def test_an_event_that_cannot_be_kept_is_asked_for_again(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise LedgerUnavailable("no answer")

    monkeypatch.setattr(UnreadablePayments, "keep", away)

    reply = await api.callback(b"{}", event="e-1")

    assert_refused(reply, 503, "not-ready")
