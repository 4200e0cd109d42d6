"""Ops act for a candidate: each act has one effect, and is kept with its key and its reason."""

from typing import Any

from tests.api.test_candidate_view import drain
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.refunds_due import listed
from tests.support.refusals import assert_refused

WHY = "told on the telephone"


async def act(api: ApiClient, reservation: str, what: str, **members: Any) -> Reply:
    path = f"/v1/reservations/{reservation}/{what}"
    return await api.call("POST", path, key=api.ops_key, json={"reason": WHY, **members})


async def test_a_hold_that_ops_mark_as_paid_is_booked_once(api: ApiClient) -> None:
    held = (await api.reserve("c-1")).json["id"]

    paid = await act(api, held, "mark-paid", reference="bank 7")
    again = await act(api, held, "mark-paid", reference="bank 7")
    another = await act(api, held, "mark-paid", reference="bank 8")

    assert paid.json == {"outcome": "confirmed", "reservation": held}
    assert (again.status, again.json) == (200, paid.json)
    assert_refused(another, 409, "already-confirmed")
    shown = (await api.get(f"/v1/reservations/{held}")).json
    assert (shown["state"], shown["payment"]["provider_reference"]) == ("confirmed", "bank 7")
    due = (await api.get("/v1/exams/exam-1/refunds-due", key=api.ops_key)).json["refunds_due"]
    assert due == []


async def test_a_callback_with_the_reference_that_ops_have_marked_is_the_same_payment(
    api: ApiClient,
) -> None:
    held = (await api.reserve("c-1")).json
    await act(api, held["id"], "mark-paid", reference="bank 7")

    late = await api.pay(held, event="e-1", provider_reference="bank 7")

    assert late.json == {"outcome": "confirmed", "reservation": held["id"]}


async def test_a_reference_pays_one_reservation(api: ApiClient) -> None:
    first = (await api.reserve("c-1")).json["id"]
    second = (await api.reserve("c-2")).json["id"]
    await act(api, first, "mark-paid", reference="bank 7")

    reused = await act(api, second, "mark-paid", reference="bank 7")

    assert_refused(reused, reused.status, "event-id-reused")
    assert (await api.get(f"/v1/reservations/{second}")).json["state"] == "held"


async def test_what_was_given_back_is_not_marked_as_paid(api: ApiClient) -> None:
    held = (await api.reserve("c-1")).json["id"]

    released = await act(api, held, "release")
    again = await act(api, held, "release")
    paid = await act(api, held, "mark-paid", reference="bank 7")

    assert (released.json["state"], again.json["state"]) == ("released", "released")
    assert await api.remaining("jinan", "general") == 3
    assert_refused(paid, 409, "reservation-ended")


async def test_ops_move_a_booking_after_the_window_and_a_frontend_does_not(
    api: ApiClient,
) -> None:
    held = (await api.reserve("c-1")).json
    await api.pay(held)
    over = exam_definition(opens_in_s=-7200, closes_in_s=-3600, fair_use={"venue_changes_max": 0})
    assert (await api.import_exam(over)).status == 200

    path = f"/v1/reservations/{held['id']}/venue"
    refused = await api.call("PUT", path, json={"venue": "tianjin"})
    moved = await act(api, held["id"], "move", venue="tianjin")

    assert_refused(refused, 409, "registration-closed")
    assert (moved.json["venue"], moved.json["state"]) == ("tianjin", "confirmed")


async def test_ops_refund_outside_of_the_window_and_a_candidate_does_not(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve("c-1")).json
    await api.pay(held)
    over = {"opens_at": "2023-01-01T00:00:00Z", "closes_at": "2023-01-02T00:00:00Z"}
    assert (await api.import_exam({**exam_definition(), "refund": over})).status == 200

    refused = await api.call("POST", f"/v1/reservations/{held['id']}/refund")
    refunded = await act(api, held["id"], "ops-refund")
    again = await act(api, held["id"], "ops-refund")

    assert_refused(refused, 409, "refund-closed")
    assert (refunded.json["state"], again.json) == ("refunded", refunded.json)
    (due,) = await listed(api, exam="exam-1")
    assert (due["reservation"], due["reason"]) == (held["id"], "refunded")
    seen = (await api.get("/v1/exams/exam-1/candidates/c-1")).json
    assert (seen["refund_used"], seen["refund"]["reservation"]) == (False, held["id"])
    told = await evidence.rows("SELECT action, reason FROM ops_actions")
    assert [tuple(row.values()) for row in told] == [("refund", WHY)] * 2


async def test_what_is_not_booked_is_not_refunded_by_ops(api: ApiClient) -> None:
    held = (await api.reserve("c-1")).json["id"]

    early = await act(api, held, "ops-refund")
    await act(api, held, "release")
    late = await act(api, held, "ops-refund")

    assert_refused(early, 409, "not-confirmed")
    assert_refused(late, 409, "reservation-ended")


async def test_each_act_is_kept_with_its_key_its_request_and_its_reason(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve("c-1")).json["id"]

    moved = await act(api, held, "move", venue="tianjin")
    paid = await act(api, held, "mark-paid", reference="bank 7")

    key = api.ops_key.split("_")[1]
    asked = [reply.headers["X-Request-ID"] for reply in (moved, paid)]
    rows = await evidence.rows(
        "SELECT action, subject, reason, key_id, request_id FROM ops_actions ORDER BY id"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("move", held, WHY, key, asked[0]),
        ("mark-paid", held, WHY, key, asked[1]),
    ]
    await drain(running)
    (seen,) = (await api.get("/v1/exams/exam-1/candidates/c-1")).json["reservations"]
    by_ops = [(s["step"], s["request_id"]) for s in seen["history"] if s["key_id"] == key]
    assert by_ops[0] == ("change", asked[0])
    assert {request for _, request in by_ops[1:]} == {asked[1]}


async def test_no_act_is_done_without_a_reason_or_by_a_frontend(api: ApiClient) -> None:
    held = (await api.reserve("c-1")).json["id"]
    acts = {
        "release": {},
        "ops-refund": {},
        "move": {"venue": "tianjin"},
        "mark-paid": {"reference": "bank 7"},
    }

    for what, members in acts.items():
        path = f"/v1/reservations/{held}/{what}"
        bare = await api.call("POST", path, key=api.ops_key, json=members)
        frontend = await api.call("POST", path, json={"reason": WHY, **members})
        assert_refused(bare, 422, "invalid-request")
        assert_refused(frontend, 403, "forbidden")

    shown = (await api.get(f"/v1/reservations/{held}")).json
    assert (shown["state"], shown["venue"]) == ("held", "jinan")


async def order_by_ops(api: ApiClient, candidate: str, key: str, **members: Any) -> Reply:
    order = {"candidate": candidate, "subjects": ["general"], "venues": ["jinan"]}
    return await api.call(
        "POST",
        "/v1/exams/exam-1/ops-reservations",
        key=api.ops_key,
        json={**order, "accepted_notice": True, "reason": WHY, **members},
        headers={"Idempotency-Key": key},
    )


async def test_ops_reserve_outside_of_the_window_once_for_each_key(api: ApiClient) -> None:
    over = exam_definition(opens_in_s=-7200, closes_in_s=-3600)
    assert (await api.import_exam(over)).status == 200

    refused = await api.reserve("c-1")
    first = await order_by_ops(api, "c-1", "ops-1")
    again = await order_by_ops(api, "c-1", "ops-1")
    conflict = await order_by_ops(api, "c-1", "ops-2")
    paid = await act(api, first.json["id"], "mark-paid", reference="bank 7")

    assert_refused(refused, 409, "registration-closed")
    assert (first.status, first.json["state"]) == (201, "held")
    assert (again.json, again.headers["Idempotency-Replayed"]) == (first.json, "true")
    assert_refused(conflict, 409, "session-conflict")
    assert paid.json["outcome"] == "confirmed"


async def test_ops_reserve_beyond_the_limit_of_unpaid_holds_but_never_a_seat_that_is_sold(
    api: ApiClient,
) -> None:
    rules = {"unpaid_holds_max": 1, "unpaid_pause_s": 900, "unpaid_pause_max_s": 900}
    assert (await api.import_exam(exam_definition(fair_use=rules))).status == 200
    held = (await api.reserve("c-1")).json["id"]
    await api.call("DELETE", f"/v1/reservations/{held}")

    refused = await api.reserve("c-1")
    by_ops = await order_by_ops(api, "c-1", "ops-1", venues=["beijing"])
    sold_out = await order_by_ops(api, "c-2", "ops-2", venues=["beijing"])

    assert_refused(refused, 409, "too-many-unpaid-holds")
    assert by_ops.status == 201, by_ops
    assert by_ops.json["venue"] == "beijing"
    assert_refused(sold_out, 409, "sold-out")


async def test_an_order_of_ops_needs_a_reason(api: ApiClient, evidence: Evidence) -> None:
    bare = await order_by_ops(api, "c-1", "ops-1", reason="")
    await order_by_ops(api, "c-1", "ops-1")

    assert_refused(bare, 422, "invalid-request")
    rows = await evidence.rows("SELECT action, subject, reason FROM ops_actions")
    assert [tuple(row.values()) for row in rows] == [("reserve", "c-1", WHY)]


async def test_ids_that_postgres_cannot_store_are_refused(api: ApiClient) -> None:
    held = (await api.reserve("c-1")).json["id"]

    moved = await act(api, held, "move", venue="a\0b")
    ordered = await order_by_ops(api, "c-2", "ops-1", venues=["a\0b"])

    assert_refused(moved, 422, "invalid-request")
    assert_refused(ordered, 422, "unknown-venue")
