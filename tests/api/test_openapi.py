"""The OpenAPI document and its page: valid, complete, and strict about bodies."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from quota_service.api.openapi_operations import OPERATIONS
from quota_service.api.openapi_schemas import component, shown
from quota_service.api.pages import PAGES
from quota_service.api.problems import PROBLEMS
from quota_service.api.routes import ROUTES
from quota_service.app.opening import Service
from quota_service.app.serving import api_app
from quota_service.ledger.api_keys import KEY_SCOPES, Scope
from quota_service.schema import CANDIDATE_EXAMPLE, EXAM_EXAMPLE
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract

RESERVATION = "GET /v1/reservations/{reservation}"
CALLBACK = "POST /v1/payment-callbacks"


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

    files = {call for call in served if call.startswith(("GET /docs/", "GET /web/"))}
    pages = {f"GET {address}" for address in PAGES}
    assert served - files - pages == contract.calls.keys()


def test_every_call_says_who_may_make_it(contract: Contract) -> None:
    schemes = contract.document["components"]["securitySchemes"]

    for route in ROUTES:
        call = contract.calls[f"{route.method} {route.path}"]
        names = [name for way in call["security"] for name in way]
        if route.scopes:
            of_keys = {f"{scope}_key" for scope in route.scopes & KEY_SCOPES}
            of_tokens = {"candidate_token"} if Scope.CANDIDATE in route.scopes else set()
            assert set(names) == of_keys | of_tokens
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
    """The tests of answers would prove little if the schemas let anything through."""
    (media,) = [m for m in contract.media() if (m.call, m.status) == (RESERVATION, "200")]
    reservation = media.examples["confirmed"]
    payment = {**reservation["payment"], "card": "4111"}

    assert contract.faults(media.pointer, {**reservation, "seat": 7})
    assert contract.faults(media.pointer, {**reservation, "payment": payment})
    assert contract.faults(media.pointer, {**reservation, "deadline": "2023-03-14 04:15"})


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
    reservation = "exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa"
    names = {"exam": "ccaa-2023-1", "venue": "jinan", "reservation": reservation, "refund": "1"}
    path = path.format(
        **names, set_aside="teachers", code="5d1c07a4e2f9", endpoint="wh_5d1c07a4e2f9"
    )
    (scopes,) = [route.scopes for route in ROUTES if f"{route.method} {route.path}" == call]
    key = api.ops_key if scopes == {Scope.OPS} else api.frontend_key
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


def _kind(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.headers["Content-Type"].partition(";")[0]


def _constant(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that do not differ from one request to the next."""
    return {
        name: value
        for name, value in headers.items()
        if name not in {"Date", "X-Request-ID", "Connection"}
    }
