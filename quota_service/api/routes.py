"""The routes as a table: address, handler, who may call it, and how it can refuse.

The application, the OpenAPI document and a test that every refusal is reachable all read it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from quota_service.api import (
    archive_handlers,
    documents,
    exam_handlers,
    handlers,
    ops_handlers,
    room_ops_handlers,
    stream_handlers,
    waiting_room_handlers,
)
from quota_service.api.auth import exam_in
from quota_service.api.bodies import read_body
from quota_service.api.context import CONTEXT, ApiContext
from quota_service.api.entry import WORK
from quota_service.api.express import ExpressLane, Hot
from quota_service.api.ops_handlers import KEY_ID
from quota_service.api.rates import RATE, take_of_address, take_of_key
from quota_service.api.read_in_turn import ReadInTurn
from quota_service.http.request import Handler as JsonHandler
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.ledger.api_keys import Scope
from quota_service.overload.classes import Work, work_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. `scope` None means anyone; `refusals` are slugs beyond the general.

    A call whose address names no exam takes one as `?exam=` when `has_exam_in_query`. A hot call
    has a handler that runs on the express lane too.
    """

    method: str
    path: str
    handler: Handler | Hot
    scope: Scope | None
    summary: str
    refusals: tuple[str, ...] = ()
    has_exam_in_query: bool = False

    @property
    def work(self) -> Work:
        """The class of work the call belongs to."""
        return work_of(self.method.encode(), self.path.encode())


_NO_EXAM = ("unknown-exam", "exam-archived")
_NO_RESERVATION = ("unknown-reservation", "exam-archived")
_STORES = ("not-ready", "overloaded")
_BODY = ("malformed-json", "body-too-slow", "payload-too-large", "invalid-request")
_ORDER = (
    "idempotency-key-missing",
    "idempotency-key-ambiguous",
    "idempotency-key-reused",
    "sold-out",
    "session-conflict",
    "too-many-unpaid-holds",
    "key-share-used",
    "registration-not-open",
    "registration-closed",
    "session-started",
    "notice-not-accepted",
    "unknown-venue",
    "unknown-subject",
    "same-session-twice",
    "national-id-refused",
    "waiting-room-pass-required",
    "pass-invalid",
    "pass-expired",
    "pass-ended",
)
_CLAIM = (
    "national-id-refused",
    "waiting-room-off",
    "registration-closed",
    "ticket-invalid",
    "ticket-of-another-exam",
    "not-your-turn",
    "turn-passed",
    "ticket-used",
)
FRONTEND, REFUNDS, OPS, ANYONE = Scope.FRONTEND, Scope.REFUNDS, Scope.OPS, None

# fmt: off
ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/exams", exam_handlers.list_exams, ANYONE,
          "Every exam", ("invalid-request", "not-ready")),
    Route("GET", "/v1/exams/{exam}", exam_handlers.get_exam, ANYONE,
          "One exam: windows, sessions, subjects, venues, fee and notice",
          (*_NO_EXAM, "not-ready")),
    Route("PUT", "/v1/exams/{exam}", handlers.put_exam, OPS,
          "Import a definition; the same again changes nothing",
          (*_BODY, "definition-refused", "exam-archived", *_STORES)),
    Route("GET", "/v1/exams/{exam}/availability", Hot(handlers.get_availability), ANYONE,
          "What is left at every venue",
          (*_NO_EXAM, "unknown-subject", "invalid-request", *_STORES)),
    Route("GET", "/v1/exams/{exam}/availability/stream",
          stream_handlers.get_availability_stream, ANYONE,
          "What is left at every venue, as it changes",
          (*_NO_EXAM, "unknown-subject", "invalid-request", "last-event-id-malformed", *_STORES)),
    Route("POST", "/v1/exams/{exam}/reservations", Hot(handlers.post_reservation, is_simple=True),
          FRONTEND,
          "Reserve all subjects at the first venue that has them",
          (*_BODY, *_NO_EXAM, *_ORDER, "reservation-ended", *_STORES)),
    Route("GET", "/v1/exams/{exam}/candidates/{candidate}", handlers.get_candidate, FRONTEND,
          "Everything a candidate has in an exam",
          (*_NO_EXAM, "invalid-request", "national-id-refused", *_STORES)),
    Route("GET", "/v1/reservations/{reservation}", handlers.get_reservation, FRONTEND,
          "One reservation and its payment", (*_NO_RESERVATION, *_STORES)),
    Route("DELETE", "/v1/reservations/{reservation}", handlers.delete_reservation, FRONTEND,
          "Give a hold back",
          (*_NO_RESERVATION, "already-confirmed", "payment-in-progress", *_STORES)),
    Route("POST", "/v1/reservations/{reservation}/checkout", handlers.post_checkout, FRONTEND,
          "Payment begins: the deadline moves out once",
          (*_BODY, *_NO_RESERVATION, "reservation-ended", "already-confirmed", *_STORES)),
    Route("PUT", "/v1/reservations/{reservation}/venue", handlers.put_venue, FRONTEND,
          "Change the venue of a hold or a booking",
          (*_BODY, *_NO_RESERVATION, "unknown-venue", "sold-out", "reservation-ended",
           "payment-in-progress", "change-in-progress", "venue-changes-used",
           "key-share-used", "registration-not-open", "registration-closed", "session-started",
           *_STORES)),
    Route("POST", "/v1/reservations/{reservation}/refund", handlers.post_refund, REFUNDS,
          "Refund a booking in full, once for each person and exam",
          (*_BODY, *_NO_RESERVATION, "not-confirmed", "reservation-ended", "refund-used",
           "payment-in-progress", "change-in-progress", "refund-not-open", "refund-closed",
           *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-room",
          Hot(waiting_room_handlers.post_waiting_room), FRONTEND,
          "Join the waiting room: the draw before the opening, the queue after it",
          (*_BODY, *_NO_EXAM, "national-id-refused", "waiting-room-off", "registration-closed",
           *_STORES)),
    Route("GET", "/v1/exams/{exam}/waiting-room",
          Hot(waiting_room_handlers.get_waiting_room), ANYONE,
          "How far the waiting room has come",
          (*_NO_EXAM, "waiting-room-off", "not-ready")),
    Route("POST", "/v1/exams/{exam}/waiting-room/claims",
          Hot(waiting_room_handlers.post_claim), FRONTEND,
          "Claim a place: a ticket whose turn has come becomes a pass",
          (*_BODY, *_NO_EXAM, *_CLAIM, *_STORES)),
    Route("DELETE", "/v1/exams/{exam}/waiting-room/claims/{candidate}",
          waiting_room_handlers.delete_claim, FRONTEND,
          "The candidate has finished: the place is free",
          (*_NO_EXAM, "invalid-request", "national-id-refused", "waiting-room-off", *_STORES)),
    Route("PUT", "/v1/exams/{exam}/waiting-room", room_ops_handlers.put_waiting_room, OPS,
          "Set the rate of admission, or let it adapt again",
          (*_BODY, *_NO_EXAM, "waiting-room-off", *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-room/pause", room_ops_handlers.post_pause, OPS,
          "Let nobody in for now", (*_BODY, *_NO_EXAM, "waiting-room-off", *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-room/resume", room_ops_handlers.post_resume, OPS,
          "Let admission go on", (*_BODY, *_NO_EXAM, "waiting-room-off", *_STORES)),
    Route("GET", "/v1/exams/{exam}/refunds-due", ops_handlers.get_refunds_due, OPS,
          "Money that has to go back", (*_NO_EXAM, "invalid-request", *_STORES)),
    Route("POST", "/v1/exams/{exam}/refunds-due/{refund}/settle",
          ops_handlers.post_refund_settled, OPS,
          "The money was sent back", (*_NO_EXAM, "unknown-refund", *_STORES)),
    Route("GET", "/v1/refunds-due", ops_handlers.get_all_refunds_due, OPS,
          "Money that has to go back, of every exam and of none",
          (*_NO_EXAM, "invalid-request", *_STORES), has_exam_in_query=True),
    Route("POST", "/v1/refunds-due/{refund}/settle", ops_handlers.post_refund_settled, OPS,
          "The money was sent back, whatever exam it was for", ("unknown-refund", *_STORES)),
    Route("GET", "/v1/unreadable-payments", ops_handlers.get_unreadable_payments, OPS,
          "Payment events that could not be understood", ("invalid-request", *_STORES)),
    Route("POST", "/v1/unreadable-payments/{payment}/settle",
          ops_handlers.post_unreadable_settled, OPS,
          "A person has dealt with it", ("unknown-payment", *_STORES)),
    Route("GET", "/v1/exams/{exam}/bookings.csv", ops_handlers.get_bookings_csv, OPS,
          "All bookings as a file", (*_NO_EXAM, "invalid-request", *_STORES)),
    Route("POST", "/v1/exams/{exam}/archive", archive_handlers.post_archive, OPS,
          "Archive an exam that is over and settled; again changes nothing",
          (*_BODY, "unknown-exam", "exam-not-over", "exam-unfinished", *_STORES)),
    Route("GET", "/v1/exams/{exam}/audit", ops_handlers.get_audit, OPS,
          "Both stores compared, promise by promise", (*_NO_EXAM, *_STORES)),
    Route("POST", "/v1/payment-callbacks", Hot(handlers.post_payment_callback), ANYONE,
          "The payment provider reports a payment, signed",
          (*_BODY, "unauthorized", "event-id-reused", *_STORES)),
    Route("GET", "/livez", handlers.get_livez, ANYONE, "The process is up"),
    Route("GET", "/readyz", handlers.get_readyz, ANYONE, "The service can serve", ("not-ready",)),
    Route("GET", "/openapi.json", documents.get_openapi, ANYONE, "This document"),
    Route("GET", "/docs", documents.get_docs, ANYONE, "A page to try the API"),
    Route("GET", "/problems/{slug}", documents.get_problem, ANYONE,
          "What a problem type means", ("not-found",)),
)
# fmt: on


def add_routes(app: web.Application) -> None:
    """Register every route, those with a scope behind their key check."""
    works = {}
    for route in ROUTES:
        handler = route.handler
        if isinstance(handler, Hot):
            handler = _unhurried(handler.handler, is_signed=route.work is Work.CONFIRM)
        if route.scope is not None:
            handler = _behind_key(handler, route.scope, in_query=route.has_exam_in_query)
        elif route.work is Work.PUBLIC_READ:
            handler = _behind_rate(handler)
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            app.router.add_route(method, route.path, handler)
            works[method, route.path] = route.work
    app[WORK] = works
    documents.add_files(app)


def add_hot_routes(lane: ExpressLane) -> None:
    """Put the hot routes on the express lane."""
    for route in ROUTES:
        if isinstance(route.handler, Hot):
            lane.add(route.method, route.path, route.handler, route.scope, route.work)


def _unhurried(handler: JsonHandler[ApiContext], *, is_signed: bool) -> Handler:
    """Return the handler of a hot call for requests that come aiohttp's way.

    One that checks a signature gives its connection the place of those whose is valid.
    """

    async def handle(asked: web.Request) -> web.StreamResponse:
        context = asked.app[CONTEXT]
        body = await read_body(asked, context.settings.body_max_bytes)
        request = Request(
            asked.match_info, asked.headers, body, lambda: asked.query, asked.remote or ""
        )
        response = handler(context, request)
        if is_signed:
            connection = cast("ReadInTurn", asked.protocol)
            connection.is_paying, connection.is_failing = True, False
        if not isinstance(response, Response):
            response = await context.under_way.run(response)
        return response.to_aiohttp()

    return handle


def _behind_key(handler: Handler, scope: Scope, *, in_query: bool) -> Handler:
    """Return the handler behind the check of the API key; nothing is read before it."""

    async def checked(request: web.Request) -> web.StreamResponse:
        authorization = request.headers.get("Authorization")
        context = request.app[CONTEXT]
        exam = request.query.get("exam") if in_query else exam_in(request.match_info)
        request[KEY_ID] = key_id = context.keys.authorize(authorization, scope, exam)
        cast("ReadInTurn", request.protocol).is_failing = False
        request[RATE] = take_of_key(context, key_id)
        return await handler(request)

    return checked


def _behind_rate(handler: Handler) -> Handler:
    """Return the handler behind the rate of the caller's address."""

    async def checked(request: web.Request) -> web.StreamResponse:
        take_of_address(request.app[CONTEXT], request.remote or "")
        return await handler(request)

    return checked
