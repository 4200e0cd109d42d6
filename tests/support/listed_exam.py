"""An exam with a waiting list, sold out where it says so, and the calls of those who wait."""

import itertools
from typing import Any

from quota_service.domain.reservation import ReservationId
from quota_service.seats.keys import Shard
from quota_service.workers.expiry import ExpiryWorker
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.records import move_due
from tests.support.redis_clients import redis_of

LIST = "/v1/exams/exam-1/waiting-list"
SEATS = {
    "jinan": {"general": 0, "qms": 3, "ems": 0, "service": 0},
    "tianjin": {"general": 1, "qms": 0, "ems": 2, "service": 5},
    "beijing": {"general": 5, "qms": 5, "ems": 5, "service": 5},
}
"""No seat of `general` and `qms` together but in Beijing."""
_KEYS = itertools.count(1)


def listed_definition(**rules: Any) -> dict[str, Any]:
    """Return the definition of an exam with a waiting list."""
    return {
        **exam_definition(seats=SEATS),
        "returned": {"rule": "list-first"},
        "waiting_list": {"offer_ttl_s": 600, **rules},
    }


async def import_listed(api: ApiClient, **rules: Any) -> None:
    """Let the exam of the test have a waiting list."""
    imported = await api.import_exam(listed_definition(**rules))
    assert imported.status in {200, 201}, imported


async def join(
    api: ApiClient, candidate: str = "c-1", key: str | None = None, **members: Any
) -> Reply:
    """Join the list for two subjects that no venue of the wish has, unless told otherwise."""
    body = {
        "candidate": candidate,
        "subjects": ["general", "qms"],
        "venues": ["jinan", "tianjin"],
        **members,
    }
    headers = {"Idempotency-Key": key or f"wish-{next(_KEYS)}"}
    return await api.call("POST", LIST, json=body, headers=headers)


async def joined(api: ApiClient, candidate: str = "c-1", **members: Any) -> Any:
    """Join the list, which must succeed; return the entry."""
    reply = await join(api, candidate, **members)
    assert reply.status == 201, reply
    return reply.json


async def look(api: ApiClient, entry: Any) -> Any:
    """Return an entry as it is now."""
    reply = await api.get(f"{LIST}/{entry['id']}")
    assert reply.status == 200, reply
    return reply.json


async def leave(api: ApiClient, entry: Any) -> Reply:
    return await api.call("DELETE", f"{LIST}/{entry['id']}")


async def offer(api: ApiClient, evidence: Evidence, entry: Any) -> str:
    """Let an entry have an offer, a hold in Beijing, as a dealing would; return the hold."""
    held = await api.reserve(entry["candidate"], tuple(entry["subjects"]), ("beijing",))
    assert held.status == 201, held
    await evidence.rows(
        "UPDATE waiting_list_entries SET state = 'offered', offers = 1, reservation = $2,"
        " offer_deadline = now(), offered_at = now() WHERE exam || '.w.' || serial = $1",
        entry["id"],
        held.json["id"],
    )
    return str(held.json["id"])


async def let_run_out(running: Running, reservation: str) -> None:
    """Let a hold expire now."""
    parts = ReservationId.parse(reservation)
    assert parts is not None
    client = redis_of(running.service)
    await move_due(client, Shard(parts.exam, 0), parts.serial)
    expired = await ExpiryWorker(running.service.stores, running.service.settings).run_once()
    assert expired["expired"] == 1


async def in_redis(running: Running) -> tuple[dict[str, str], dict[str, str]]:
    """Return who waits by Redis, and what they want."""
    client, shard = redis_of(running.service), Shard("exam-1", 0)
    return await client.hgetall(shard.key("list")), await client.hgetall(shard.key("wanted"))
