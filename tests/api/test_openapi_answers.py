"""What the service answers is what the OpenAPI document says of it."""

from collections.abc import Mapping

import pytest

from quota_service.api.problems import PROBLEMS
from quota_service.registration.in_flight import UseCaseLimits
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract
from tests.support.exams import exam_definition

EXAMS = "GET /v1/exams"
EXAM = "GET /v1/exams/{exam}"
IMPORT = "PUT /v1/exams/{exam}"
AVAILABILITY = "GET /v1/exams/{exam}/availability"
RESERVE = "POST /v1/exams/{exam}/reservations"
CANDIDATE = "GET /v1/exams/{exam}/candidates/{candidate}"
RESERVATION = "GET /v1/reservations/{reservation}"
RELEASE = "DELETE /v1/reservations/{reservation}"
CHECKOUT = "POST /v1/reservations/{reservation}/checkout"
CALLBACK = "POST /v1/payment-callbacks"


async def test_looking_is_answered_as_documented(contract: Contract, api: ApiClient) -> None:
    exams = await api.get("/v1/exams", key=None)
    exam = await api.get("/v1/exams/exam-1", key=None)
    seats = await api.get("/v1/exams/exam-1/availability?subjects=general,qms", key=None)
    again = await api.get(
        "/v1/exams/exam-1/availability", key=None, headers={"If-None-Match": seats.headers["ETag"]}
    )

    assert [r.status for r in (exams, exam, seats, again)] == [200, 200, 200, 304]
    contract.check(EXAMS, exams)
    contract.check(EXAM, exam)
    contract.check(AVAILABILITY, seats)
    contract.check(AVAILABILITY, again)


async def test_the_path_of_a_candidate_is_answered_as_documented(
    contract: Contract, api: ApiClient
) -> None:
    held = await api.reserve("candidate-1", ("general", "qms"), idempotency_key="key-a")
    replayed = await api.reserve("candidate-1", ("general", "qms"), idempotency_key="key-a")
    path = f"/v1/reservations/{held.json['id']}"
    checked_out = await api.call("POST", f"{path}/checkout")
    paid = await api.pay(held.json)
    paid_twice = await api.pay(held.json)
    failed = await api.pay(held.json, status="failed")
    confirmed = await api.get(path)
    kept = await api.call("DELETE", path)
    candidate = await api.get("/v1/exams/exam-1/candidates/candidate-1")

    assert [r.status for r in (held, replayed, checked_out)] == [201, 201, 200]
    assert [r.json["outcome"] for r in (paid, paid_twice, failed)] == [
        "confirmed",
        "refund_due",
        "ignored",
    ]
    assert (kept.slug, candidate.json["registered"]) == ("already-confirmed", True)
    contract.check(RESERVE, held)
    contract.check(RESERVE, replayed)
    contract.check(CHECKOUT, checked_out)
    contract.check(CALLBACK, paid)
    contract.check(CALLBACK, paid_twice)
    contract.check(CALLBACK, failed)
    contract.check(RESERVATION, confirmed)
    contract.check(RELEASE, kept)
    contract.check(CANDIDATE, candidate)


async def test_giving_back_is_answered_as_documented(contract: Contract, api: ApiClient) -> None:
    held = await api.reserve()
    path = f"/v1/reservations/{held.json['id']}"

    released = await api.call("DELETE", path)
    too_late = await api.call("POST", f"{path}/checkout")

    assert (released.json["state"], too_late.slug) == ("released", "reservation-ended")
    contract.check(RELEASE, released)
    contract.check(CHECKOUT, too_late)


async def test_refusals_of_an_order_are_answered_as_documented(
    contract: Contract, api: ApiClient
) -> None:
    await api.import_exam(exam_definition("early", opens_in_s=60))
    await api.import_exam(exam_definition("late", opens_in_s=-60, closes_in_s=-30))
    await api.reserve("candidate-1", ("service",), ("jinan",), idempotency_key="key-a")
    await api.import_exam(exam_definition("fair", fair_use={"unpaid_holds_max": 1}))
    begun = exam_definition("begun", opens_in_s=-60)
    begun["sessions"][0] |= {
        "starts_at": exam_definition(opens_in_s=-30)["registration"]["opens_at"],
        "ends_at": begun["registration"]["closes_at"],
    }
    assert (await api.import_exam(begun)).json["warnings"]
    ended = (await api.reserve(exam="fair")).json
    await api.call("DELETE", f"/v1/reservations/{ended['id']}")

    refused = {
        "sold-out": await api.reserve("candidate-2", ("service",), ("jinan",)),
        "session-conflict": await api.reserve("candidate-1", ("service",), ("tianjin",)),
        "too-many-unpaid-holds": await api.reserve(exam="fair"),
        "idempotency-key-reused": await api.reserve("candidate-1", idempotency_key="key-a"),
        "registration-not-open": await api.reserve(exam="early"),
        "registration-closed": await api.reserve(exam="late"),
        "session-started": await api.reserve(exam="begun"),
        "notice-not-accepted": await api.reserve(accepted_notice="2022-9"),
        "unknown-exam": await api.reserve(exam="nowhere"),
        "unknown-venue": await api.reserve(venues=("atlantis",)),
        "unknown-subject": await api.reserve(subjects=("alchemy",)),
        "same-session-twice": await api.reserve(subjects=("qms", "ems")),
        "national-id-refused": await api.reserve("11010519491231002X"),
        "invalid-request": await api.reserve(subjects=()),
        "idempotency-key-missing": await _order(api, b"{}", {}),
        "malformed-json": await _order(api, b"{", {"Idempotency-Key": "key-b"}),
        "payload-too-large": await _order(api, b" " * 20_000, {"Idempotency-Key": "key-b"}),
    }

    assert {slug: reply.slug for slug, reply in refused.items()} == {slug: slug for slug in refused}
    for reply in refused.values():
        contract.check(RESERVE, reply)


async def test_other_refusals_are_answered_as_documented(
    contract: Contract, api: ApiClient
) -> None:
    unknown = "exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa"
    await api.pay(unknown, event="event-a")

    refused = [
        (EXAM, "unknown-exam", await api.get("/v1/exams/nowhere")),
        (AVAILABILITY, "unknown-exam", await api.get("/v1/exams/nowhere/availability")),
        (RESERVATION, "unknown-reservation", await api.get(f"/v1/reservations/{unknown}")),
        (RESERVATION, "unauthorized", await api.get(f"/v1/reservations/{unknown}", key=None)),
        (IMPORT, "forbidden", await api.call("PUT", "/v1/exams/exam-1")),
        (CALLBACK, "unauthorized", await api.callback(b"{}", secret=b"another one")),
        (CALLBACK, "event-id-reused", await api.pay(unknown, event="event-a", amount=1)),
        ("GET /problems/{slug}", "not-found", await api.get("/problems/none", key=None)),
    ]

    assert [slug for _, slug, _ in refused] == [reply.slug for _, _, reply in refused]
    for call, _, reply in refused:
        contract.check(call, reply)


@pytest.mark.settings(UseCaseLimits(at_once_max=0))
async def test_asking_to_come_back_is_answered_as_documented(
    contract: Contract, running: Running
) -> None:
    overloaded = await running.client.reserve()
    running.service.health.is_draining = True
    draining = await running.client.get("/readyz", key=None)

    assert (overloaded.slug, draining.slug) == ("overloaded", "not-ready")
    contract.check(RESERVE, overloaded)
    contract.check("GET /readyz", draining)


async def test_an_import_is_answered_as_documented(contract: Contract, api: ApiClient) -> None:
    definition = exam_definition("exam-2")
    more = {**definition, "seats": {**definition["seats"], "jinan": {"general": 9}}}

    created = await api.import_exam(definition)
    unchanged = await api.import_exam(definition)
    changed = await api.import_exam(more)
    refused = await api.import_exam({**definition, "colour": "red"})

    assert [r.status for r in (created, unchanged, changed, refused)] == [201, 200, 200, 422]
    assert changed.json["changes"]
    for reply in (created, unchanged, changed, refused):
        contract.check(IMPORT, reply)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/openapi.json", "/docs"])
async def test_the_service_calls_are_answered_as_documented(
    contract: Contract, api: ApiClient, path: str
) -> None:
    reply = await api.get(path, key=None)

    assert reply.status == 200
    contract.check(f"GET {path}", reply)


async def test_the_type_of_every_problem_leads_to_its_meaning(
    contract: Contract, api: ApiClient
) -> None:
    meanings = {}
    for slug, problem in PROBLEMS.items():
        reply = await api.get(problem.uri, key=None)
        contract.check("GET /problems/{slug}", reply)
        meanings[slug] = reply.json["meaning"]

    assert meanings == {slug: problem.meaning for slug, problem in PROBLEMS.items()}


async def _order(api: ApiClient, body: bytes, headers: Mapping[str, str]) -> Reply:
    return await api.call("POST", "/v1/exams/exam-1/reservations", data=body, headers=headers)
