"""Refunds that are due, for tests: what makes them, how they are listed and settled."""

from collections.abc import Mapping
from typing import Any

import redis.asyncio

from quota_service.workers.expiry import ExpiryWorker
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.records import move_due_into_the_past

LIST = "/v1/refunds-due"
NO_SUCH_RESERVATION = f"exam-1.0.{'a' * 24}"


def path_of(exam: str | None) -> str:
    """Return where the list of an exam is, or that of all."""
    return LIST if exam is None else f"/v1/exams/{exam}/refunds-due"


async def look(api: ApiClient, query: str = "", *, exam: str | None = None) -> Any:
    """Return one page of the list."""
    reply = await api.get(f"{path_of(exam)}{query}", key=api.ops_key)
    assert reply.status == 200, reply
    return reply.json


async def listed(api: ApiClient, *, exam: str | None = None) -> list[Mapping[str, Any]]:
    """Return the whole list, in pages of two."""
    found: list[Mapping[str, Any]] = []
    page = await look(api, "?limit=2", exam=exam)
    found += page["refunds_due"]
    while page["next"] is not None:
        page = await look(api, f"?limit=2&after={page['next']}", exam=exam)
        found += page["refunds_due"]
    return found


def reasons(found: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return the reason of each event; fail when an event stands twice."""
    assert len({due["event"] for due in found}) == len(found), found
    return {due["event"]: due["reason"] for due in found}


async def settle(
    api: ApiClient, refund: object, *, exam: str | None = None, key: str | None = None
) -> Reply:
    return await api.call("POST", f"{path_of(exam)}/{refund}/settle", key=key or api.ops_key)


async def hold(api: ApiClient, candidate: str, subject: str = "general") -> Any:
    reply = await api.reserve(candidate, (subject,), ("jinan", "tianjin"))
    assert reply.status == 201, reply
    return reply.json


async def refund(api: ApiClient, reservation: Mapping[str, Any]) -> None:
    reply = await api.call("POST", f"/v1/reservations/{reservation['id']}/refund")
    assert reply.status == 200, reply


async def expire(
    running: Running, client: "redis.asyncio.Redis", reservation: Mapping[str, Any]
) -> None:
    """Let the time of a hold run out."""
    await move_due_into_the_past(client, reservation["id"])
    worker = ExpiryWorker(running.service.stores, running.service.settings)
    assert await worker.run_once() == {"expired": 1}
