"""What a key may do: its scopes, and the exams it is for."""

import pytest

from quota_service.ledger.api_keys import KEY_SCOPES, Scope
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.exams import exam_definition
from tests.support.refusals import assert_refused


async def make_key(running: Running, *scopes: Scope, exams: frozenset[str] | None = None) -> str:
    key = await running.service.key_ledger.create("another", frozenset(scopes), exams)
    await running.service.keys.refresh()
    return key


async def booked(api: ApiClient, exam: str = "exam-1") -> str:
    held = (await api.reserve("c-1", venues=("tianjin",), exam=exam)).json
    assert (await api.pay(held)).json["outcome"] == "confirmed"
    return str(held["id"])


async def test_a_refund_needs_a_scope_of_its_own(running: Running) -> None:
    api = running.client
    path = f"/v1/reservations/{await booked(api)}/refund"
    frontend = await make_key(running, Scope.FRONTEND)
    refunds = await make_key(running, Scope.REFUNDS)

    refused = await api.call("POST", path, key=frontend)
    by_ops = await api.call("POST", path, key=api.ops_key)
    reading = await api.get(path.removesuffix("/refund"), key=refunds)
    refunded = await api.call("POST", path, key=refunds)

    for reply in (refused, by_ops, reading):
        assert_refused(reply, 403, "forbidden")
    assert (refunded.status, refunded.json["state"]) == (200, "refunded")


async def test_a_key_that_is_bound_to_an_exam_is_for_no_other(
    running: Running, subtests: pytest.Subtests
) -> None:
    api = running.client
    for exam in ("exam-2", "exam-3"):
        assert (await api.import_exam(exam_definition(exam))).status == 201
    mine = await make_key(running, *KEY_SCOPES, exams=frozenset({"exam-2", "exam-3"}))
    theirs, ours = await booked(api), await booked(api, "exam-2")
    calls = [
        ("GET", "/v1/reservations/{}"),
        ("GET", "/v1/exams/{exam}/candidates/c-1"),
        ("GET", "/v1/exams/{exam}/refunds-due"),
        ("GET", "/v1/refunds-due?exam={exam}"),
        ("GET", "/v1/exams/{exam}/bookings.csv"),
        ("GET", "/v1/exams/{exam}/roster.csv"),
        ("POST", "/v1/reservations/{}/refund"),
    ]

    for method, path in calls:
        with subtests.test(path=path):
            there = await api.call(method, path.format(theirs, exam="exam-1"), key=mine)
            here = await api.call(method, path.format(ours, exam="exam-2"), key=mine)

            assert_refused(there, 403, "forbidden")
            assert here.status == 200, here
    order = {
        "candidate": "c-9",
        "subjects": ["general"],
        "venues": ["jinan"],
        "accepted_notice": "2023-1",
    }
    reserved = [
        await api.call(
            "POST",
            f"/v1/exams/{exam}/reservations",
            key=mine,
            json=order,
            headers={"Idempotency-Key": "key-z"},
        )
        for exam in ("exam-1", "exam-3", "exam-1", "exam-9")
    ]
    assert [reply.status for reply in reserved] == [403, 201, 403, 403]
    imported = await api.call("PUT", "/v1/exams/exam-1", key=mine, json=exam_definition())
    assert_refused(imported, 403, "forbidden")


async def test_what_is_of_every_exam_needs_a_key_that_is_bound_to_none(running: Running) -> None:
    api = running.client
    mine = await make_key(running, Scope.OPS, exams=frozenset({"exam-1"}))
    await api.pay("nobody", event="e-1")
    (due,) = (await api.get("/v1/refunds-due", key=api.ops_key)).json["refunds_due"]

    for method, path in (
        ("GET", "/v1/refunds-due"),
        ("GET", "/v1/refunds-due?exam="),
        ("POST", f"/v1/refunds-due/{due['id']}/settle"),
        ("POST", f"/v1/refunds-due/{due['id']}/settle?exam=exam-1"),
        ("GET", "/v1/unreadable-payments"),
        ("GET", "/v1/unreadable-payments?exam=exam-1"),
    ):
        assert_refused(await api.call(method, path, key=mine), 403, "forbidden")
    assert (await api.get("/v1/refunds-due", key=api.ops_key)).json["refunds_due"] == [due]
