"""Who did it: every step, refund, payment event and import names the key and the request."""

import asyncio

import orjson

from quota_service.app.opening import Service
from quota_service.ledger.api_keys import Scope, split_key
from quota_service.observability.caller import Caller
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.journal_drain import JournalDrainWorker
from quota_service.workers.loop import WorkerLoop
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.records import move_due_into_the_past
from tests.support.redis_clients import redis_of
from tests.support.waiting import eventually


def id_of(key: str) -> str:
    key_id, _ = split_key(key) or ("", "")
    return key_id


async def drain(service: Service) -> None:
    await JournalDrainWorker(service.stores.maintenance, service.settings).run_once()


async def steps(evidence: Evidence) -> list[tuple[str, str, str]]:
    """Return verb, key and request of every step but capacities, in order."""
    rows = await evidence.rows(
        "SELECT verb, key_id, request_id FROM journal WHERE verb <> 'capacity'"
        " ORDER BY epoch, version"
    )
    return [tuple(row) for row in rows]


def named(request: str) -> dict[str, dict[str, str]]:
    return {"headers": {"X-Request-ID": request}}


async def test_every_step_names_the_key_and_the_request_that_asked_for_it(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    mine = id_of(api.frontend_key)
    other = await running.service.key_ledger.create(
        "other", frozenset({Scope.FRONTEND, Scope.REFUNDS})
    )
    await running.service.keys.refresh()
    order = {
        "candidate": "c-1",
        "subjects": ["general"],
        "venues": ["jinan"],
        "accepted_notice": "2023-1",
    }
    headers = {"Idempotency-Key": "key-a", "X-Request-ID": "r-1"}
    path = "/v1/exams/exam-1/reservations"
    held = (await api.call("POST", path, json=order, headers=headers)).json
    own = f"/v1/reservations/{held['id']}"

    await api.call("POST", f"{own}/checkout", **named("r-2"))
    await api.pay(held)
    await api.call("PUT", f"{own}/venue", json={"venue": "tianjin"}, key=other, **named("r-3"))
    await api.call("POST", f"{own}/refund", key=other, **named("r-4"))
    second = (await api.reserve("c-1")).json
    await api.call("DELETE", f"/v1/reservations/{second['id']}", key=other, **named("r-5"))
    await drain(running.service)

    found = await steps(evidence)
    told = [(verb, key, request) for verb, key, request in found if request.startswith("r-")]
    assert told == [
        ("reserve", mine, "r-1"),
        ("checkout", mine, "r-2"),
        ("change", id_of(other), "r-3"),
        ("settle_change", id_of(other), "r-3"),
        ("refund", id_of(other), "r-4"),
        ("release", id_of(other), "r-5"),
    ]
    by_provider = [(verb, key) for verb, key, _ in found if key == "provider"]
    assert by_provider == [("pin", "provider"), ("confirm", "provider")]
    assert all(request for _, _, request in found)
    (refund,) = await evidence.rows("SELECT key_id, request_id FROM refunds")
    assert tuple(refund) == (id_of(other), "r-4")
    (event,) = await evidence.rows("SELECT request_id FROM payment_events")
    (attempt,) = [request for verb, _, request in found if verb == "pin"]
    assert event["request_id"] == attempt
    view = (await api.get("/v1/exams/exam-1/candidates/c-1")).json["reservations"]
    history = [step for each in view for step in each["history"]]
    shown = [(step["step"], step["key_id"], step["request_id"]) for step in history]
    assert sorted(shown) == sorted(found)


async def test_requests_of_one_batch_are_told_apart(running: Running, evidence: Evidence) -> None:
    api = running.client
    other = await running.service.key_ledger.create("other", frozenset({Scope.FRONTEND}))
    await running.service.keys.refresh()

    async def reserve(i: int) -> None:
        body = {
            "candidate": f"c-{i}",
            "subjects": ["general"],
            "venues": ["tianjin"],
            "accepted_notice": "2023-1",
        }
        headers = {"Idempotency-Key": f"key-{i}", "X-Request-ID": f"r-{i}"}
        key = other if i % 2 else api.frontend_key
        path = "/v1/exams/exam-1/reservations"
        reply = await api.call("POST", path, json=body, key=key, headers=headers)
        assert reply.status == 201

    await asyncio.gather(*(reserve(i) for i in range(4)))
    await drain(running.service)

    keys = [id_of(api.frontend_key), id_of(other)]
    assert sorted(await steps(evidence)) == sorted(
        ("reserve", keys[i % 2], f"r-{i}") for i in range(4)
    )


async def test_a_step_of_a_worker_names_the_worker(running: Running, evidence: Evidence) -> None:
    service = running.service
    held = (await running.client.reserve()).json
    await move_due_into_the_past(redis_of(service), held["id"])
    loop = WorkerLoop(ExpiryWorker(service.stores, service.settings), service.metrics)

    task = asyncio.create_task(loop.run())

    async def is_expired() -> bool:
        reply = await running.client.get(f"/v1/reservations/{held['id']}")
        return bool(reply.json["state"] == "expired")

    await eventually(is_expired)
    loop.stop()
    await task
    await drain(service)

    assert (await steps(evidence))[-1] == ("expire", "worker:expiry", "")


async def test_every_import_names_its_key_and_request_and_what_it_changed(
    api: ApiClient, evidence: Evidence
) -> None:
    definition = exam_definition("exam-2")
    changed = {**definition, "title": {"zh": "另一个", "en": "Another"}}
    for request, document in (("r-1", definition), ("r-2", definition), ("r-3", changed)):
        reply = await api.call(
            "PUT", "/v1/exams/exam-2", key=api.ops_key, json=document, **named(request)
        )
        assert reply.status in {200, 201}

    rows = await evidence.rows(
        "SELECT key_id, request_id, changes::text AS changes FROM imports"
        " WHERE exam = 'exam-2' ORDER BY revision"
    )
    told = [(row["key_id"], row["request_id"]) for row in rows]
    assert told == [(id_of(api.ops_key), "r-1"), (id_of(api.ops_key), "r-3")]
    assert [bool(orjson.loads(row["changes"])) for row in rows] == [False, True]


def test_an_entry_of_an_earlier_version_names_nobody() -> None:
    assert Caller.read("") == Caller("", "")
    assert Caller.read(Caller("key", "request").text) == Caller("key", "request")
