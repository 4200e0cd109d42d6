"""Webhook endpoints over HTTP."""

import base64
from typing import Any

import pytest

from quota_service.domain.webhook import ENDPOINTS_MAX
from quota_service.ledger.api_keys import Scope
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract
from tests.support.lost_shards import rows
from tests.support.webhooks import deliver, happen, receiving, working

PATH = "/v1/webhook-endpoints"
NEW = {"url": "https://hook.example/in", "description": "the portal", "reason": "it asked for it"}
WHY = {"reason": "told by the portal"}


async def ask(api: ApiClient, method: str, path: str = "", **options: Any) -> Reply:
    return await api.call(method, PATH + path, key=api.ops_key, **options)


async def made(api: ApiClient, **members: Any) -> str:
    reply = await ask(api, "POST", json={**NEW, **members})
    assert reply.status == 201, reply
    return str(reply.json["webhook_endpoint"]["id"])


async def test_an_endpoint_lives_from_its_making_to_its_end_and_each_change_is_noted(
    api: ApiClient, contract: Contract
) -> None:
    first = await ask(api, "POST", json={**NEW, "exams": ["exam-1"], "kinds": ["exam.paused"]})
    endpoint = first.json["webhook_endpoint"]["id"]
    one = f"{PATH}/{{endpoint}}"
    replies = {
        f"GET {one}": await ask(api, "GET", f"/{endpoint}"),
        f"GET {PATH}": await ask(api, "GET"),
        f"POST {one}/rotate-secret": await ask(
            api, "POST", f"/{endpoint}/rotate-secret", json={**WHY, "keep_old_s": 60}
        ),
        f"POST {one}/test": await ask(api, "POST", f"/{endpoint}/test", json=WHY),
        f"POST {one}/disable": await ask(api, "POST", f"/{endpoint}/disable", json=WHY),
        f"POST {one}/enable": await ask(api, "POST", f"/{endpoint}/enable", json=WHY),
        f"POST {one}/replay": await ask(
            api, "POST", f"/{endpoint}/replay", json={**WHY, "since": "2023-03-14T04:00:00Z"}
        ),
        f"GET {one}/deliveries": await ask(api, "GET", f"/{endpoint}/deliveries?state=pending"),
        f"DELETE {one}": await ask(api, "DELETE", f"/{endpoint}?reason=over"),
    }
    left = await ask(api, "GET")
    noted = await api.call("GET", "/v1/ops-actions", key=api.ops_key)

    contract.check(f"POST {PATH}", first)
    for call, reply in replies.items():
        assert reply.status == (202 if call.endswith("/test") else 200), (call, reply)
        contract.check(call, reply)
    assert "whsec_" not in replies[f"GET {one}"].body.decode()
    assert first.json["webhook_endpoint"]["exams"] == ["exam-1"]
    secrets = [first.json["secret"], replies[f"POST {one}/rotate-secret"].json["secret"]]
    assert [len(base64.b64decode(each.removeprefix("whsec_"))) for each in secrets] == [32, 32]
    assert left.json == {"webhook_endpoints": []}
    assert [each["action"] for each in noted.json["ops_actions"]] == [
        "make-webhook",
        "rotate-webhook-secret",
        "test-webhook",
        "disable-webhook",
        "enable-webhook",
        "replay-webhook",
        "delete-webhook",
    ]
    assert {each["subject"] for each in noted.json["ops_actions"]} == {endpoint}
    assert "whsec_" not in noted.body.decode()


@pytest.mark.settings(webhook_private_addresses=True)
async def test_deliveries_are_listed_with_what_became_of_them(running: Running) -> None:
    api = running.client
    async with receiving() as receiver, working(running.service) as worker:
        endpoint = await made(api, url=receiver.url)
        await happen(running.service, ("r-1", "reservation.held"), exam="exam-1")
        before = await ask(api, "GET", f"/{endpoint}/deliveries")
        await deliver(worker)
        after = await ask(api, "GET", f"/{endpoint}/deliveries?state=delivered&limit=1")
        none = await ask(api, "GET", f"/{endpoint}/deliveries?state=pending")

    assert [each["state"] for each in before.json["deliveries"]] == ["pending"]
    [delivery] = after.json["deliveries"]
    assert delivery["event"] == receiver.ids[0]
    assert (delivery["type"], delivery["exam"]) == ("reservation.held", "exam-1")
    assert (delivery["last_status"], delivery["last_error"]) == (204, None)
    assert delivery["next_at"] is None
    assert after.json["next"] == delivery["event"].removeprefix("evt_")
    assert none.json["deliveries"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "http://hook.example/"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://a:b@hook.example/"}, "url"),
        ({"url": 7}, "url"),
        ({"kinds": ["reservation.eaten"]}, "kinds[0]"),
        ({"kinds": ["webhook.test"]}, "kinds[0]"),
        ({"kinds": []}, "kinds"),
        ({"exams": []}, "exams"),
        ({"reason": ""}, "reason"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
async def test_an_endpoint_that_will_not_do_is_refused_by_the_member_that_is_wrong(
    api: ApiClient, body: dict[str, Any], field: str
) -> None:
    reply = await ask(api, "POST", json={**NEW, **body})

    assert (reply.status, reply.json["type"]) == (422, "/problems/invalid-request")
    assert [each["field"] for each in reply.json["errors"]] == [field]


async def test_what_is_not_there_or_not_to_be_had_is_refused_by_its_name(
    running: Running,
) -> None:
    api = running.client
    endpoint = await made(api)
    await ask(api, "POST", f"/{endpoint}/disable", json=WHY)
    replies = [
        await ask(api, "POST", json={**NEW, "exams": ["exam-9"]}),
        await ask(api, "GET", "/wh_000000000000"),
        await ask(api, "POST", "/wh_000000000000/enable", json=WHY),
        await ask(api, "DELETE", "/wh_000000000000?reason=over"),
        await ask(api, "POST", f"/{endpoint}/test", json=WHY),
        await ask(api, "DELETE", f"/{endpoint}"),
        await ask(api, "GET", f"/{endpoint}/deliveries?state=lost"),
    ]
    await rows(
        running.service,
        "INSERT INTO webhook_endpoints (id, url, description) "
        "SELECT n::text, '', '' FROM generate_series(2, $1) AS n RETURNING id",
        ENDPOINTS_MAX,
    )
    replies.append(await ask(api, "POST", json=NEW))

    assert [(each.status, each.json["type"].rpartition("/")[2]) for each in replies] == [
        (404, "unknown-exam"),
        (404, "unknown-webhook-endpoint"),
        (404, "unknown-webhook-endpoint"),
        (404, "unknown-webhook-endpoint"),
        (409, "webhook-endpoint-disabled"),
        (422, "invalid-request"),
        (422, "invalid-request"),
        (409, "too-many-webhook-endpoints"),
    ]


async def test_a_key_that_is_bound_to_an_exam_may_not_say_where_events_go(
    running: Running,
) -> None:
    bound = await running.service.key_ledger.create(
        "bound", frozenset({Scope.OPS}), frozenset({"exam-1"})
    )
    await running.service.keys.refresh()

    made_by_it = await running.client.call("POST", PATH, key=bound, json=NEW)
    looked_at = await running.client.call("GET", PATH, key=bound)

    assert (made_by_it.status, looked_at.status) == (403, 403)
