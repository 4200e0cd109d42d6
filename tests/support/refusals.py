"""Orders in JSON, right and wrong, and what a refusal must look like."""

import json
from typing import Any

from tests.support.client import ApiClient, Reply

RESERVATIONS = "/v1/exams/exam-1/reservations"
ORDER = {
    "candidate": "candidate-1",
    "subjects": ["general"],
    "venues": ["jinan"],
    "accepted_notice": "2023-1",
}
PAYMENT = {
    "reservation": "exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa",
    "status": "captured",
    "amount": 8000,
    "currency": "CNY",
    "paid_at": "2026-01-02T03:04:05.678Z",
    "provider_reference": "provider-1",
}


async def order(api: ApiClient, body: Any, key: str = "key-a") -> Reply:
    """Send an order with these bytes, or with this JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    return await api.call("POST", RESERVATIONS, data=sent, headers=headers)


def fields(reply: Reply) -> list[str]:
    return [error["field"] for error in reply.json["errors"]]


def assert_refused(reply: Reply, code: int, slug: str, *named: str) -> None:
    assert (reply.status, reply.slug) == (code, slug), reply
    assert {"type", "title", "status", "detail"} <= set(reply.json)
    assert reply.json["status"] == code
    assert all(error["detail"] for error in reply.json.get("errors", []))
    if named:
        assert fields(reply) == list(named), reply
