"""The handlers: each parses, calls one use case and renders its answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from multidict import MultiMapping

from quota_service.api import render
from quota_service.api.answers import Health
from quota_service.api.bodies import (
    LIST_MAX,
    parse_object,
    parse_order,
    parse_payment,
    parse_venue,
    refuse_bad_candidate,
    refuse_members,
)
from quota_service.api.context import ApiContext
from quota_service.api.errors import (
    BadRequest,
    IdempotencyKeyAmbiguous,
    IdempotencyKeyMissing,
    InvalidRequest,
)
from quota_service.api.etags import is_known
from quota_service.api.problems import problem_response
from quota_service.api.rendered import QUOTAS_PER_MS
from quota_service.api.webhooks import check_event_id, verified_event
from quota_service.definitions.files import parse_definition_json
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import DefinitionError
from quota_service.domain.errors import DefinitionRefused, EventIdReused, UnknownSubject
from quota_service.domain.exam import Exam
from quota_service.domain.reservation import Reservation
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.observability.caller import PROVIDER
from quota_service.observability.logs import KEY_ID
from quota_service.registration.availability import Availability
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.refund import refund
from quota_service.registration.release import checkout, release
from quota_service.registration.reserve import reserve
from quota_service.registration.view import (
    read_reservation,
    view_candidate,
    with_payment,
)

IDEMPOTENCY_KEY_MAX = 255


async def put_exam(context: ApiContext, request: Request) -> Response:
    """PUT /v1/exams/{exam}."""
    # The largest definition takes a second to read: nobody else waits for it.
    exam = await asyncio.to_thread(_defined, request.params["exam"], request.body)
    imported = await import_exam(context.stores, exam)
    status = 201 if imported.created else 200
    return Response.json(render.imported_json(exam.id, imported), status)


def _defined(exam_id: str, body: bytes) -> Exam:
    """Return the exam that a body defines under its address."""
    parse_object(body)
    try:
        document = parse_definition_json(body)
        exam = parse_exam({"id": exam_id, **cast("dict[str, object]", document)})
    except DefinitionError as error:
        raise DefinitionRefused([(p.where, p.detail) for p in error.problems]) from error
    if exam.id != exam_id:
        raise DefinitionRefused([("id", f"is {exam.id!r}, the address says {exam_id!r}")])
    return exam


def get_availability(
    context: ApiContext, request: Request
) -> Response | Coroutine[Any, Any, Response]:
    """GET /v1/exams/{exam}/availability."""
    known = context.availability.fresh(request.params["exam"])
    if known is not None:
        return _availability(context, request, known)

    async def ask() -> Response:
        return _availability(
            context, request, await context.availability.current(request.params["exam"])
        )

    return ask()


def _availability(context: ApiContext, request: Request, availability: Availability) -> Response:
    etag = f'W/"{availability.state_id}"'
    subjects = subjects_asked(request.read_query(), availability.exam)
    headers = (("ETag", etag), ("Cache-Control", "no-cache"))
    if is_known(request.headers.getall("If-None-Match", ()), etag):
        return Response(b"", 304, headers)
    rendered = context.rendered
    if not rendered.is_kept(availability, subjects):
        context.render_budget.take(rendered.quotas(availability, subjects) // QUOTAS_PER_MS)
    return Response(rendered.availability(availability, subjects), 200, headers)


def post_reservation(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/exams/{exam}/reservations."""
    key = _idempotency_key(request.headers)
    order = parse_order(request.body)

    async def run() -> Response:
        exam, granted = request.params["exam"], request.headers.get("Waiting-Room-Pass")
        return render.reserved(await reserve(context.stores, exam, order, key, granted))

    return run()


async def get_reservation(context: ApiContext, request: Request) -> Response:
    """GET /v1/reservations/{reservation}."""
    reservation = await read_reservation(context.stores, request.params["reservation"])
    return await _viewed(context, reservation)


async def delete_reservation(context: ApiContext, request: Request) -> Response:
    """DELETE /v1/reservations/{reservation}."""
    return await _viewed(context, await release(context.stores, request.params["reservation"]))


async def post_checkout(context: ApiContext, request: Request) -> Response:
    """POST /v1/reservations/{reservation}/checkout."""
    refuse_members(request.body)
    return await _viewed(context, await checkout(context.stores, request.params["reservation"]))


async def put_venue(context: ApiContext, request: Request) -> Response:
    """PUT /v1/reservations/{reservation}/venue."""
    venue = parse_venue(request.body)
    changed = await change_venue(context.stores, request.params["reservation"], venue)
    return await _viewed(context, changed)


async def post_refund(context: ApiContext, request: Request) -> Response:
    """POST /v1/reservations/{reservation}/refund."""
    refuse_members(request.body)
    return await _viewed(context, await refund(context.stores, request.params["reservation"]))


def verify_callback(context: ApiContext, request: Request) -> str:
    """Return the event id of a callback that is signed; raises Unauthorized."""
    now_s = context.health.now_ms() / 1000
    return verified_event(context.payment_secrets, request.headers, request.body, now_s)


def post_payment_callback(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/payment-callbacks."""
    now_ms = context.health.now_ms()
    event = request.event
    KEY_ID.set(PROVIDER)

    async def run() -> Response:
        try:
            check_event_id(event)
            payment = parse_payment(event, now_ms, request.body)
            return render.payment_result(await confirm(context.stores, payment))
        except (BadRequest, EventIdReused) as refusal:
            # It is signed as it should be: there may be money behind it.
            context.stores.metrics.payments_unreadable.inc()
            await context.stores.unreadable_payments.keep(event, request.body, str(refusal))
            raise

    return run()


async def get_candidate(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/candidates/{candidate}."""
    candidate = request.params["candidate"]
    refuse_bad_candidate(candidate)
    view = await view_candidate(context.stores, request.params["exam"], candidate)
    return Response.json(render.candidate_json(view))


def get_livez(_context: ApiContext, _request: Request) -> Response:
    """GET /livez: the process is up."""
    return Response.json({"status": "ok"})


def get_readyz(context: ApiContext, _request: Request) -> Response:
    """GET /readyz: the stores answer, scripts run, exams and keys are loaded; not draining.

    Else the problem with every part at fault; why is in the log. `warnings` are parts that serve
    and that ops have to look at.
    """
    if context.health.is_draining:
        return problem_response("not-ready", "the service is shutting down", part="service")
    faults = sorted(context.health.faults)
    if faults:
        return problem_response("not-ready", f"not ready: {', '.join(faults)}", part=faults[0])
    warnings = sorted(context.health.warnings)
    health: Health = {"status": "ok"}
    if warnings:
        health["warnings"] = warnings
    return Response.json(health)


async def _viewed(context: ApiContext, reservation: Reservation) -> Response:
    """Return the answer with a reservation and the payment that was seen for it."""
    view = await with_payment(context.stores, reservation)
    return Response.json(render.reservation_json(view.reservation, view.payment))


def _idempotency_key(headers: "MultiMapping[str]") -> str:
    offered = {value.strip() for value in headers.getall("Idempotency-Key", ())}
    if len(offered) > 1:
        raise IdempotencyKeyAmbiguous("send one Idempotency-Key header; there are several")
    key = offered.pop() if offered else ""
    if not key:
        raise IdempotencyKeyMissing("send an Idempotency-Key header, a new one for each order")
    if len(key) > IDEMPOTENCY_KEY_MAX or not (key.isascii() and key.isprintable()):
        wanted = f"must be 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters"
        raise InvalidRequest([("Idempotency-Key", wanted)])
    return key


def subjects_asked(query: "MultiMapping[str]", exam: Exam) -> tuple[str, ...] | None:
    """Return the subjects in `?subjects=a,b`, or None for all."""
    asked = query.getall("subjects", [])
    unknown = [name for name in query if name != "subjects"]
    if unknown:
        told = [(name[:64], "is not a parameter of this call") for name in unknown[:LIST_MAX]]
        raise InvalidRequest(told)
    if not asked:
        return None
    subjects = tuple(dict.fromkeys(part for value in asked for part in value.split(",")))
    if len(subjects) > LIST_MAX:
        raise InvalidRequest([("subjects", f"must have 1 to {LIST_MAX} members")])
    for subject in subjects:
        if subject not in exam.session_of:
            raise UnknownSubject("subjects", subject[:64])
    return subjects
