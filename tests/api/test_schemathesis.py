"""Requests made up from the OpenAPI document, right ones and wrong ones, against a running service.

Each call is tried with the examples of the document, with every limit of its schema met and missed
by one, and with random requests; then whole walks from a reservation onwards. The requests are the
same in every run.

Three checks of the tool are left out. `positive_data_acceptance`, because a well-formed order can
be refused for what it says, such as a subject the exam does not have; `documented_form_is_taken`
below checks what is meant here. `use_after_free` and `ensure_resource_availability`, because they
expect a DELETE to make its resource unknown, and a reservation can be read after its end.

Over 400 lines because what has to be there before each call is beside the calls.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import requests
import schemathesis
from hypothesis.internal.conjecture import providers
from schemathesis import engine
from schemathesis.checks import CheckContext
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from schemathesis.hooks import GLOBAL_HOOK_DISPATCHER, HookContext

from quota_service.api.openapi import openapi_document
from quota_service.api.routes import ROUTES
from quota_service.api.seat_releases import RELEASE_AT_EXAMPLE, RELEASE_EXAMPLE
from quota_service.api.set_asides import CODE_EXAMPLE, SET_ASIDE_EXAMPLE
from quota_service.api.stream_channel import StreamLimits
from quota_service.api.webhook_endpoints import ENDPOINT_EXAMPLE
from quota_service.client.webhooks import sign
from quota_service.domain.definition import rfc3339
from quota_service.registration.import_exam import import_exam
from quota_service.schema import (
    CANDIDATE_EXAMPLE,
    ENTRY_EXAMPLE,
    EXAM_EXAMPLE,
    RESERVATION_EXAMPLE,
    TICKET_EXAMPLE,
)
from tests.conftest import Running
from tests.support.client import PAYMENT_SECRET, ApiClient
from tests.support.draws import DrawUnderTest
from tests.support.exams import exam_definition, make_exam
from tests.support.retirement import over
from tests.support.rooms import admit

CALLS = [f"{route.method} {route.path}" for route in ROUTES]
CALLBACK = "POST /v1/payment-callbacks"
OF_FROZEN_DRAWS = {
    "GET /v1/exams/{exam}/waiting-room/proof",
    "POST /v1/exams/{exam}/waiting-room/source",
    "POST /v1/exams/{exam}/waiting-room/open-without-draw",
}
RESUME = "POST /v1/exams/{exam}/resume"
ARCHIVE = "POST /v1/exams/{exam}/archive"
BOOKED = (
    "POST /v1/reservations/{reservation}/refund",
    "POST /v1/reservations/{reservation}/ops-refund",
)
STEPS = ("reserve", "get_reservation", "checkout", "release")
UNTIL_EXAMPLE = "2023-03-20T16:00:00.000Z"
EXAMPLES_MAX = 10
"""Random requests of a call, beside those that meet and miss each limit by one."""

WALKS_MAX = 25
DEFINES = "PUT /v1/exams/{exam}"
"""Whole definitions take seconds to make up; `unit/test_definition_made_up.py` has more of them."""

TO_BE_SIGNED = "v1,stands-for-the-right-signature"
FRAMING = {"content-length", "transfer-encoding", "connection", "expect", "upgrade", "host"}
FORM_PROBLEMS = {"malformed-json", "invalid-request", "idempotency-key-missing"}
"""Not `last-event-id-malformed`: the tool sends 0 in an optional header, whatever its form."""

OF_TWO_MEMBERS = {"quiet_hours.to"}
"""What is wrong only beside another member, which no schema says."""


@schemathesis.check
def documented_form_is_taken(_ctx: CheckContext, response: Response, case: Any) -> None:
    """A request of the documented form is never refused for its form, whatever else it meets."""
    if case.meta.generation.mode.is_positive and response.status_code in {400, 422}:
        problem = response.json()
        fields = {error["field"] for error in problem.get("errors", ())}
        slug = problem["type"].removeprefix("/problems/")
        assert slug not in FORM_PROBLEMS or fields == OF_TWO_MEMBERS, response.text


CHECKS: Mapping[str, Mapping[str, Any]] = {
    "not_a_server_error": {},
    "status_code_conformance": {},
    "content_type_conformance": {},
    "response_schema_conformance": {},
    "response_headers_conformance": {},
    # Narrower than the tool's own list: a request that is wrong is never answered 409 or 503.
    "negative_data_rejection": {"expected-statuses": ["400", "401", "404", "405", "413", "422"]},
    "missing_required_header": {"expected-statuses": ["400", "401"]},
    "unsupported_method": {},
    "allow_header_conformance": {},
    "ignored_auth": {},
    "documented_form_is_taken": {},
}


class SignsCallbacks(requests.auth.AuthBase):
    """Signs a callback that carries the stand-in, as the provider would, at the moment it is sent.

    What a test made wrong on purpose, a header left out or a timestamp that is none, stays wrong.
    """

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        headers = request.headers
        told = {name: _text(headers.get(name, "")) for name in ("webhook-id", "webhook-timestamp")}
        if headers.get("webhook-signature") == TO_BE_SIGNED and re.fullmatch(
            r"[0-9]{1,15}", told["webhook-timestamp"]
        ):
            now_s = int(time.time())
            body = request.body or b""
            body = body.encode() if isinstance(body, str) else body
            headers["webhook-timestamp"] = str(now_s)
            headers["webhook-signature"] = sign(PAYMENT_SECRET, told["webhook-id"], now_s, body)
        return request


@dataclass(slots=True)
class Findings:
    """What a run found: every fault in words, and how often each call was answered what."""

    faults: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def took(self, call: str) -> bool:
        """Whether the call succeeded at least once."""
        return any(name == call and status < 300 for name, status in self.answers)


@pytest.fixture(autouse=True)
def _callbacks_are_signed() -> Iterator[None]:
    def before_call(_context: HookContext, case: Any, kwargs: dict[str, Any]) -> None:
        if case.operation.label == CALLBACK:
            kwargs["auth"] = SignsCallbacks()

    GLOBAL_HOOK_DISPATCHER.register_hook_with_name(before_call, "before_call")
    yield
    GLOBAL_HOOK_DISPATCHER.unregister(before_call)


@pytest.fixture(autouse=True)
def _framing_is_left_alone() -> Iterator[None]:
    """Headers that frame a message are HTTP's own: a made-up length is no request of any call."""

    def filter_headers(_context: HookContext, headers: Any) -> bool:
        return FRAMING.isdisjoint(str(name).lower() for name in headers or ())

    GLOBAL_HOOK_DISPATCHER.register_hook_with_name(filter_headers, "filter_headers")
    yield
    GLOBAL_HOOK_DISPATCHER.unregister(filter_headers)


@pytest.fixture(autouse=True)
def _requests_do_not_depend_on_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis draws constants from every module of ours that happens to be loaded."""
    monkeypatch.setattr(providers, "_get_local_constants", providers.Constants)
    monkeypatch.setattr(providers, "CONSTANTS_CACHE", {})


@pytest.fixture
async def document(running: Running, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The document with examples that are true.

    Its exam is there, its reservation is held (or booked, where the call is about bookings), its
    refund is due, and one payment event could not be understood. Where the call is about the
    waiting room there is one, and the turn of its ticket has come; where it is about the source of
    a draw, that has come. Where the call resumes the exam, it is paused; where it archives it, the
    exam is over.
    """
    api = running.client
    definition = exam_definition(EXAM_EXAMPLE)
    await api.import_exam(definition)
    held = await api.reserve("candidate-1", ("general", "qms"), exam=EXAM_EXAMPLE)
    callspec = getattr(request.node, "callspec", None)
    call = callspec.params["call"] if callspec else ""
    if call in BOOKED:
        await api.pay(held.json)
    await api.pay(f"{EXAM_EXAMPLE}.0.{'a' * 24}")
    due = await api.get(f"/v1/exams/{EXAM_EXAMPLE}/refunds-due", key=api.ops_key)
    text = orjson.dumps(openapi_document()).decode()
    text = text.replace(ENDPOINT_EXAMPLE, await _endpoint_made(api))
    if call in OF_FROZEN_DRAWS:
        text = text.replace(TICKET_EXAMPLE, await _ticket_of_a_frozen_draw(running))
    elif "waiting-room" in call:
        await api.import_exam({**definition, "waiting_room": {}})
        text = text.replace(TICKET_EXAMPLE, await _ticket_whose_turn_has_come(running))
    if "waiting-list" in call:
        text = text.replace(ENTRY_EXAMPLE, await _listed(api, definition, call))
        text = text.replace(UNTIL_EXAMPLE, rfc3339(round((time.time() + 600) * 1000)))
    if "set-asides" in call:
        text = text.replace(CODE_EXAMPLE, await _code_made(api, definition))
    if "seat-releases" in call:
        text = text.replace(RELEASE_AT_EXAMPLE, rfc3339(round((time.time() + 600) * 1000)))
        if not call.startswith("POST"):
            await _plan_release(api)
    document = dict(orjson.loads(text.replace(RESERVATION_EXAMPLE, held.json["id"])))
    await api.callback(b"{}", event="unreadable")
    unreadable = await api.get("/v1/unreadable-payments", key=api.ops_key)
    if call == RESUME:
        path = f"/v1/exams/{EXAM_EXAMPLE}/pause"
        await api.call("POST", path, key=api.ops_key, json={"reason": "to be resumed"})
    if call == ARCHIVE:
        await _end(running, held.json["id"], due.json["refunds_due"][0]["id"])
    parameters = document["components"]["parameters"]
    parameters["refund"]["example"] = due.json["refunds_due"][0]["id"]
    parameters["payment"]["example"] = unreadable.json["unreadable_payments"][0]["id"]
    return document


async def _listed(api: ApiClient, definition: Mapping[str, Any], call: str) -> str:
    """Give the exam a waiting list, and no seats on sale for what the examples want.

    Returns the id of an entry; of the example where the call is the one that joins.
    """
    seats = {"jinan": {"general": 1, "qms": 1}, "tianjin": {"general": 0, "qms": 0}}
    listed = {"returned": {"rule": "list-first"}, "waiting_list": {}}
    venues = definition["venues"][:2]
    await api.import_exam({**definition, **listed, "venues": venues, "seats": seats})
    if call == "POST /v1/exams/{exam}/waiting-list":
        return ENTRY_EXAMPLE
    wish = {"candidate": "candidate-2", "subjects": ["general"], "venues": ["jinan"]}
    path, key = f"/v1/exams/{EXAM_EXAMPLE}/waiting-list", {"Idempotency-Key": "wish-1"}
    joined = await api.call("POST", path, json=wish, headers=key)
    return str(joined.json["id"])


async def _code_made(api: ApiClient, definition: Mapping[str, Any]) -> str:
    """Set seats aside, make a code for them and return its id."""
    until = rfc3339(round((time.time() + 600) * 1000))
    kept = {
        "id": SET_ASIDE_EXAMPLE,
        "title": "Teachers",
        "until": until,
        "seats": {"jinan": {"general": 1, "qms": 1}},
    }
    await api.import_exam({**definition, "set_asides": [kept]})
    path = f"/v1/exams/{EXAM_EXAMPLE}/set-asides/{SET_ASIDE_EXAMPLE}/codes"
    made = await api.call("POST", path, key=api.ops_key, json={"count": 1, "reason": "a letter"})
    return str(made.json["codes"][0]["id"])


async def _endpoint_made(api: ApiClient) -> str:
    body = {"url": "https://hook.example/", "description": "a test", "reason": "a test"}
    made = await api.call("POST", "/v1/webhook-endpoints", key=api.ops_key, json=body)
    return str(made.json["webhook_endpoint"]["id"])


async def _plan_release(api: ApiClient) -> None:
    body = {
        "id": RELEASE_EXAMPLE,
        "at": rfc3339(round((time.time() + 600) * 1000)),
        "announce": "time",
        "seats": {"jinan": {"general": 1}},
        "reason": "a hall more",
    }
    path = f"/v1/exams/{EXAM_EXAMPLE}/seat-releases"
    assert (await api.call("POST", path, key=api.ops_key, json=body)).status == 201


async def _end(running: Running, reservation: str, due: str) -> None:
    """Let the exam be over and settled."""
    api = running.client
    await api.call("DELETE", f"/v1/reservations/{reservation}")
    path = f"/v1/exams/{EXAM_EXAMPLE}/refunds-due/{due}/settle"
    assert (await api.call("POST", path, key=api.ops_key)).status == 200
    await import_exam(running.service.stores.maintenance, over(make_exam(EXAM_EXAMPLE), 1))


async def _ticket_of_a_frozen_draw(running: Running) -> str:
    """Return a ticket of a draw whose source has come and is not known yet."""
    draw = DrawUnderTest(running.service, exam=EXAM_EXAMPLE)
    await draw.define()
    path = f"/v1/exams/{EXAM_EXAMPLE}/waiting-room"
    joined = await running.client.call("POST", path, json={"candidate": CANDIDATE_EXAMPLE})
    await draw.freeze(at_in_s=-20)
    return str(joined.json["ticket"])


async def _ticket_whose_turn_has_come(running: Running) -> str:
    path = f"/v1/exams/{EXAM_EXAMPLE}/waiting-room"
    joined = await running.client.call("POST", path, json={"candidate": CANDIDATE_EXAMPLE})
    await admit(running.service, EXAM_EXAMPLE, serving=joined.json["number"])
    return str(joined.json["ticket"])


# The tool reads every answer to its end, so streams end at once.
@pytest.mark.settings(StreamLimits(life_s=0.01))
@pytest.mark.parametrize("call", CALLS)
async def test_made_up_requests_are_answered_as_documented(
    api: ApiClient, document: dict[str, Any], call: str
) -> None:
    phases: dict[str, Any] = {"stateful": {"enabled": False}}
    if call == DEFINES:
        phases["fuzzing"] = {"enabled": False}

    found = await asyncio.to_thread(_run, document, api, phases, [call])

    assert not found.faults, "\n\n".join(found.faults)
    assert found.took(call), found.answers
    assert found.answers.total() >= EXAMPLES_MAX


async def test_made_up_walks_from_a_reservation_on_are_answered_as_documented(
    api: ApiClient, document: dict[str, Any]
) -> None:
    only_walks = {name: {"enabled": False} for name in ("examples", "coverage", "fuzzing")}
    _narrow(document)
    walked = [call for call in CALLS if _operation(document, call)["operationId"] in STEPS]

    found = await asyncio.to_thread(_run, document, api, only_walks, walked)

    assert not found.faults, "\n\n".join(found.faults)
    # Which step comes after the first is by chance; that each succeeds is shown by itself above.
    assert len([call for call in walked if found.took(call)]) >= 2


def _run(
    document: dict[str, Any], api: ApiClient, phases: Mapping[str, Any], calls: Sequence[str]
) -> Findings:
    """Run the tool over some calls; it blocks, so it wants a thread of its own."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": 20230314,
            "base-url": api.url,
            "generation": {"deterministic": True, "database": "none", "max-examples": EXAMPLES_MAX},
            "phases": {"stateful": {"generation": {"max-examples": WALKS_MAX}}, **phases},
            "checks": {
                "enabled": False,
                **{name: {"enabled": True, **more} for name, more in CHECKS.items()},
            },
            "auth": {
                "openapi": {
                    "frontend_key": {"bearer": api.frontend_key},
                    "refunds_key": {"bearer": api.frontend_key},
                    "ops_key": {"bearer": api.ops_key},
                    "candidate_token": {"bearer": api.frontend_key},
                    "webhook_signature": {"api_key": TO_BE_SIGNED},
                }
            },
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config).include(name=list(calls))
    schema.hook(map_body)
    found = Findings()
    for event in engine.from_schema(schema).execute():
        if isinstance(event, NonFatalError | FatalError):
            found.faults.append(repr(event))
        elif isinstance(event, ScenarioFinished):
            _collect(event, found)
    return found


def map_body(_context: HookContext, body: Any) -> Any:
    """Write whole numbers without a fraction: to JSON Schema 5.0 is one, to the service it is not.

    The tool knows the hook by this name.
    """
    match body:
        case float() if body.is_integer():
            return int(body)
        case dict():
            return {name: map_body(_context, value) for name, value in body.items()}
        case list():
            return [map_body(_context, value) for value in body]
        case _:
            return body


def _collect(event: ScenarioFinished, found: Findings) -> None:
    recorder = event.recorder
    for case_id, interaction in recorder.interactions.items():
        if interaction.response is not None:
            label = recorder.cases[case_id].value.operation.label
            found.answers[label, interaction.response.status_code] += 1
    for checks in recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                shown = (check.name, failure.title, failure.message, check.failure_info.code_sample)
                found.faults.append("\n".join(shown))


def _narrow(document: dict[str, Any]) -> None:
    """Let orders name what the exam has, so that walks often get past the first step."""
    definition = exam_definition(EXAM_EXAMPLE)
    order = document["components"]["schemas"]["Order"]["properties"]
    order["subjects"]["items"]["enum"] = [part["id"] for part in definition["subjects"]]
    order["venues"]["items"]["enum"] = [part["id"] for part in definition["venues"]]
    order["accepted_notice"] = {"enum": [True, definition["notice"]["version"]]}
    del order["code"]  # no set-aside has a code that is made up
    document["components"]["parameters"]["exam"]["schema"]["enum"] = [EXAM_EXAMPLE]


def _operation(document: Mapping[str, Any], call: str) -> Mapping[str, Any]:
    method, path = call.split(" ")
    operation: Mapping[str, Any] = document["paths"][path][method.lower()]
    return operation


def _text(header: str | bytes) -> str:
    """A header as the service will read it: its bytes, as UTF-8 if they are."""
    sent = header if isinstance(header, bytes) else header.encode("latin-1")
    return sent.decode("utf-8", "surrogateescape")
