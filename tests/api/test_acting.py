"""Ops act for a candidate: each act has one effect, and is kept with its key and its reason."""

from typing import Any

from tests.api.test_candidate_view import drain
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
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
    acts = {"release": {}, "move": {"venue": "tianjin"}, "mark-paid": {"reference": "bank 7"}}

    for what, members in acts.items():
        path = f"/v1/reservations/{held}/{what}"
        bare = await api.call("POST", path, key=api.ops_key, json=members)
        frontend = await api.call("POST", path, json={"reason": WHY, **members})
        assert_refused(bare, 422, "invalid-request")
        assert_refused(frontend, 403, "forbidden")

    shown = (await api.get(f"/v1/reservations/{held}")).json
    assert (shown["state"], shown["venue"]) == ("held", "jinan")
