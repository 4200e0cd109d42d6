"""The OpenAPI document: valid, complete, and true to what the service answers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from quota_service.api.openapi_operations import OPERATIONS
from quota_service.api.openapi_schemas import component, shown
from quota_service.api.problems import PROBLEMS
from quota_service.api.routes import ROUTES
from quota_service.app.opening import Service
from quota_service.app.serving import api_app
from quota_service.ledger.api_keys import Scope
from quota_service.registration.in_flight import UseCaseLimits
from quota_service.schema import CANDIDATE_EXAMPLE, EXAM_EXAMPLE
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


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract()


def test_the_document_is_valid_openapi_3_1(contract: Contract) -> None:
    faults = list(OpenAPIV31SpecValidator(contract.document).iter_errors())

    assert contract.document["openapi"].startswith("3.1")
    assert faults == []


def test_every_route_is_documented_and_nothing_else(contract: Contract) -> None:
    routes = {f"{route.method} {route.path}" for route in ROUTES}

    assert contract.calls.keys() == routes
    assert OPERATIONS.keys() == routes


async def test_all_that_is_served_is_documented(contract: Contract, service: Service) -> None:
    served = {
        f"{route.method} {route.resource.canonical}"
        for route in api_app(service).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }

    files_of_the_page = {call for call in served if call.startswith("GET /docs/")}
    assert served - files_of_the_page == contract.calls.keys()


def test_every_call_says_who_may_make_it(contract: Contract) -> None:
    schemes = contract.document["components"]["securitySchemes"]

    for route in ROUTES:
        call = contract.calls[f"{route.method} {route.path}"]
        names = [name for way in call["security"] for name in way]
        if route.scope is not None:
            assert names == [f"{route.scope}_key"]
            assert {"401", "403"} <= call["responses"].keys()
        assert set(names) <= schemes.keys()


def test_every_answer_tells_its_request_id(contract: Contract) -> None:
    without = [
        (call, status)
        for call, operation in contract.calls.items()
        for status, response in operation["responses"].items()
        if "X-Request-ID" not in response["headers"]
    ]

    assert without == []


def test_every_problem_has_an_example_in_some_answer(contract: Contract) -> None:
    slugs = {
        slug
        for media in contract.media()
        for slug, example in media.examples.items()
        if isinstance(example, dict)
        and example.get("type") == f"/problems/{slug}"
        and media.status == str(example["status"])
    }

    assert slugs == PROBLEMS.keys()


def test_every_answer_lists_an_example_of_each_of_its_problems(contract: Contract) -> None:
    for media in contract.media():
        if media.pointer.endswith("problem+json/schema"):
            schemas = media.schema.get("oneOf", [media.schema])
            assert len(media.examples) == len(schemas), media


def test_every_example_fits_its_schema(contract: Contract) -> None:
    misfits = {
        (media.call, media.status, name): faults
        for media in contract.media()
        for name, example in media.examples.items()
        if (faults := contract.faults(media.pointer, example))
    }

    assert misfits == {}


def test_every_json_body_of_a_success_has_an_example(contract: Contract) -> None:
    without = [
        media.call for media in contract.media() if not media.examples and "$ref" in media.schema
    ]

    assert without == []


def test_every_example_of_a_member_fits_it(contract: Contract) -> None:
    schemas = contract.document["components"]["schemas"]
    examples = list(_with_examples(schemas, "/components/schemas"))

    assert len(examples) > 100
    assert [
        (place, faults)
        for place, example in examples
        if (faults := contract.faults(place, example))
    ] == []


def test_a_body_is_shown_by_the_examples_of_its_members() -> None:
    order = shown(component("Order"))
    page = shown(component("RefundsDue"), {"next": "43"})

    assert order == {
        "candidate": CANDIDATE_EXAMPLE,
        "subjects": ["general", "qms"],
        "venues": ["jinan", "tianjin"],
        "accepted_notice": "2023-1",
    }
    assert page == {
        "exam": EXAM_EXAMPLE,
        "refunds_due": [shown(component("RefundDue"))],
        "next": "43",
    }
    assert page["refunds_due"][0]["settled_at"] is None
    assert "reason" not in shown(component("PaymentResult"))  # it may be left out
    with pytest.raises(LookupError, match="nothing shows"):
        shown({"type": "string"})


async def test_a_member_that_is_not_described_is_refused_by_document_and_service(
    contract: Contract, api: ApiClient
) -> None:
    """Made-up requests do not tell this: the tool leaves unknown members to each service."""
    # A provider adds members without asking us.
    taken = [each for each in contract.media() if each.status is None and each.call != CALLBACK]
    assert len(taken) > 10
    for media in taken:
        body = {**next(iter(media.examples.values())), "colour": "red"}
        refused = await _send(api, media.call, body)

        assert contract.faults(media.pointer, body), media.call
        assert refused.status == 422, media.call
        assert any(error["field"] == "colour" for error in refused.json["errors"])


def test_a_member_that_is_not_described_is_a_fault(contract: Contract) -> None:
    """The tests below would prove little if the schemas let anything through."""
    (media,) = [m for m in contract.media() if (m.call, m.status) == (RESERVATION, "200")]
    reservation = media.examples["confirmed"]
    payment = {**reservation["payment"], "card": "4111"}

    assert contract.faults(media.pointer, {**reservation, "seat": 7})
    assert contract.faults(media.pointer, {**reservation, "payment": payment})
    assert contract.faults(media.pointer, {**reservation, "deadline": "2023-03-14 04:15"})


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


async def test_the_document_that_is_served_is_the_one_that_is_made(
    contract: Contract, api: ApiClient
) -> None:
    reply = await api.get("/openapi.json", key=None)

    assert reply.json == contract.document


async def test_the_page_needs_nothing_from_elsewhere(api: ApiClient) -> None:
    page = await api.get("/docs", key=None)
    needed = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    files = {path: await api.get(path, key=None) for path in needed if not path.startswith("data:")}

    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "http" not in policy
    assert {path: _kind(reply) for path, reply in files.items()} == {
        "/docs/swagger-ui.css": (200, "text/css"),
        "/docs/swagger-ui-bundle.js": (200, "text/javascript"),
        "/docs/start.js": (200, "text/javascript"),
    }


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/start.js", "/docs/swagger-ui.css", "/openapi.json", "/v1/exams"]
)
async def test_head_is_answered_as_get_without_its_body(api: ApiClient, path: str) -> None:
    whole = await api.get(path, key=None)
    head = await api.call("HEAD", path, key=None)

    assert (head.status, head.body) == (200, b"")
    assert _constant(head.headers) == _constant(whole.headers)


async def _send(api: ApiClient, call: str, body: Mapping[str, Any]) -> Reply:
    """Send a body as whoever may make the call, with all it needs beside the body."""
    if call == CALLBACK:
        return await api.callback(orjson.dumps(body))
    method, path = call.split(" ")
    path = path.format(exam="ccaa-2023-1", reservation="exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa")
    (scope,) = [route.scope for route in ROUTES if f"{route.method} {route.path}" == call]
    key = api.ops_key if scope is Scope.OPS else api.frontend_key
    return await api.call(method, path, key=key, json=body, headers={"Idempotency-Key": "key-c"})


def _with_examples(schema: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the place of each schema that has examples, with each of them."""
    if isinstance(schema, list):
        for i, each in enumerate(schema):
            yield from _with_examples(each, f"{place}/{i}")
    elif isinstance(schema, dict):
        for name, part in schema.items():
            if name == "examples":
                yield from ((place, example) for example in part)
            else:
                yield from _with_examples(part, f"{place}/{name}")


async def _order(api: ApiClient, body: bytes, headers: Mapping[str, str]) -> Reply:
    return await api.call("POST", "/v1/exams/exam-1/reservations", data=body, headers=headers)


def _kind(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.headers["Content-Type"].partition(";")[0]


def _constant(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that do not differ from one request to the next."""
    return {
        name: value
        for name, value in headers.items()
        if name not in {"Date", "X-Request-ID", "Connection"}
    }
