"""A day of registration over HTTP that makes each kind of call that changes something."""

import json

from tests.support.client import ApiClient
from tests.support.exams import exam_definition
from tests.support.rooms import room_definition
from tests.support.serving import Serving
from tests.support.waiting import eventually

EXAM, SHORT, ROOM = "exam-1", "exam-short", "exam-room"


async def live_through_a_day(site: Serving) -> None:
    """Make every call as its caller would, against a service that runs its workers."""
    api = site.client
    for definition in (
        exam_definition(EXAM),
        exam_definition(SHORT, ttl_s=1, checkout_grace_s=0),
        room_definition(ROOM),
    ):
        assert (await api.import_exam(definition)).status in {200, 201}
    await site.service.stores.registry.refresh()
    await _bookings_move_and_are_refunded(api)
    await _holds_move_and_end(api)
    await _late_and_unreadable_payments(api)
    await _waiting_room(api)
    for path in (
        f"/v1/exams/{EXAM}/availability",
        f"/v1/exams/{EXAM}/candidates/moves",
        f"/v1/exams/{EXAM}/bookings.csv",
        f"/v1/exams/{EXAM}/refunds-due",
        "/v1/refunds-due",
        "/readyz",
    ):
        key = api.ops_key if "refunds-due" in path or "csv" in path else ""
        reply = await api.get(path, key=key)
        assert reply.status == 200, reply
    audited = await api.get(f"/v1/exams/{EXAM}/audit", key=api.ops_key)
    assert audited.json["differences"] == [], audited.json


async def _bookings_move_and_are_refunded(api: ApiClient) -> None:
    for candidate, ends_as in (("moves", "confirmed"), ("is-refunded", "refunded")):
        held = (await api.reserve(candidate, ("general", "qms"))).json
        assert (await api.pay(held)).json["outcome"] == "confirmed"
        reservation = f"/v1/reservations/{held['id']}"
        moved = await api.call("PUT", f"{reservation}/venue", json={"venue": "tianjin"})
        assert (moved.status, moved.json["venue"]) == (200, "tianjin"), moved
        if ends_as == "refunded":
            assert (await api.call("POST", f"{reservation}/refund")).status == 200
        assert (await api.get(reservation)).json["state"] == ends_as
    due = (await api.get(f"/v1/exams/{EXAM}/refunds-due", key=api.ops_key)).json
    (refund,) = due["refunds_due"]
    settle = f"/v1/exams/{EXAM}/refunds-due/{refund['id']}/settle"
    settled = await api.call("POST", settle, key=api.ops_key)
    assert settled.status == 200, settled


async def _holds_move_and_end(api: ApiClient) -> None:
    held = (await api.reserve("is-released", ("general",))).json
    reservation = f"/v1/reservations/{held['id']}"
    assert (await api.call("POST", f"{reservation}/checkout")).status == 200
    moved = await api.call("PUT", f"{reservation}/venue", json={"venue": "beijing"})
    assert moved.status == 200, moved
    assert (await api.call("DELETE", reservation)).status in {200, 204}


async def _late_and_unreadable_payments(api: ApiClient) -> None:
    held = (await api.reserve("pays-late", exam=SHORT)).json

    async def has_expired() -> bool:
        seen = await api.get(f"/v1/reservations/{held['id']}")
        return bool(seen.json["state"] == "expired")

    await eventually(has_expired)
    assert (await api.pay(held)).json["outcome"] == "confirmed"
    unreadable = await api.callback(json.dumps({"no": "payment"}).encode(), event="unreadable")
    assert unreadable.status in {200, 422}, unreadable
    listed = (await api.get("/v1/unreadable-payments", key=api.ops_key)).json
    (payment,) = listed["unreadable_payments"]
    settle = f"/v1/unreadable-payments/{payment['id']}/settle"
    assert (await api.call("POST", settle, key=api.ops_key)).status == 200


async def _waiting_room(api: ApiClient) -> None:
    room = f"/v1/exams/{ROOM}/waiting-room"
    for change in ("pause", "resume"):
        reply = await api.call("POST", f"{room}/{change}", key=api.ops_key)
        assert reply.status == 200, reply
    joined = await api.call("POST", room, json={"candidate": "waits"})
    assert joined.status == 201, joined
    body = {"candidate": "waits", "ticket": joined.json["ticket"]}
    passes: list[str] = []

    async def is_admitted() -> bool:
        reply = await api.call("POST", f"{room}/claims", json=body)
        passes.extend([reply.json["pass"]] if reply.status in {200, 201} else [])
        return bool(passes)

    await eventually(is_admitted)
    order = {"candidate": "waits", "subjects": ["general"], "venues": ["jinan"]}
    held = await api.call(
        "POST",
        f"/v1/exams/{ROOM}/reservations",
        json={**order, "accepted_notice": "2023-1"},
        headers={"Idempotency-Key": "waits", "Waiting-Room-Pass": passes[0]},
    )
    assert held.status == 201, held
    done = await api.call("DELETE", f"{room}/claims/waits")
    assert done.status in {200, 204}, done
