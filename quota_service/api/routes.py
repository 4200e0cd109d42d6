"""The routes as a table: address, handler, who may call it, and how it can refuse.

The application, the OpenAPI document and a test that every refusal is reachable all read it. Over
400 lines because the table has an entry for each call.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from quota_service.api import (
    acting,
    availability,
    candidate_tokens,
    candidates,
    day,
    draws,
    events,
    exam_load,
    exams,
    exports,
    operations,
    ops,
    ops_actions,
    payments,
    reservations,
    search,
    seat_releases,
    service,
    set_asides,
    streams,
    venues,
    waiting_list,
    waiting_list_ops,
    waiting_room,
    webhook_endpoints,
)
from quota_service.api.candidate_access import (
    OwnerCheck,
    in_body,
    in_path,
    of_entry,
    of_reservation,
    of_ticket,
)
from quota_service.api.context import ApiContext
from quota_service.definitions.files import MAX_FILE_BYTES
from quota_service.http.priority import Priority
from quota_service.http.request import Handler, Request
from quota_service.http.response import Response
from quota_service.ledger.api_keys import Scope

JsonHandler = Handler[ApiContext]
AiohttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class AiohttpOnly:
    """Marks a handler that works on aiohttp's own objects: a stream, an export, a page."""

    handler: AiohttpHandler


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. `scopes` are who may make it, anyone without any.

    `refusals` are slugs beyond the general. A call whose address names no exam takes one as
    `?exam=` when `has_exam_in_query`, and in its body when `has_exam_in_body`: then the handler
    asks `KeyRing.check_exam`.
    """

    method: str
    path: str
    handler: JsonHandler | AiohttpOnly
    scopes: frozenset[Scope]
    summary: str
    refusals: tuple[str, ...] = ()
    has_exam_in_query: bool = False
    has_exam_in_body: bool = False
    body_max_bytes: int | None = None
    """The longest body it takes; None for that of all others."""
    is_long: bool = False
    """Whether it may take longer than other requests wait for the stores."""
    verify: Callable[[ApiContext, Request], str] | None = None
    """Checks who calls where there is no key, on the whole body; returns what was found.

    Who passes goes before all others.
    """

    owner: OwnerCheck | None = None
    """Checks that the call is about what is the candidate's own; of calls that candidates make."""
    own_priority: Priority | None = None
    """The class of work, where it is not the usual one of the scopes."""

    @property
    def priority(self) -> Priority:
        """The class of work the call belongs to."""
        if self.own_priority is not None:
            return self.own_priority
        return Priority.OPS if self.scopes == OPS else Priority.PUBLIC_READ

    def authorize(self, context: ApiContext, request: Request) -> str:
        """Return the id of the key that may make the call; "" where it needs none.

        The key has to be for the exam of the call, or for all. With a candidate token the request
        is that of its owner from here on. Raises Unauthorized and Forbidden.
        """
        if not self.scopes:
            return ""
        params = request.params
        if self.has_exam_in_query:
            exam = request.read_query().get("exam")
        elif "exam" in params:
            exam = params["exam"]
        else:
            exam = params["reservation"].partition(".")[0] if "reservation" in params else None
        access = context.keys.authorize(
            request.headers.get("Authorization"),
            self.scopes,
            exam,
            has_exam_in_body=self.has_exam_in_body,
        )
        request.owner = access.candidate
        return access.key_id

    def answer(
        self, handler: JsonHandler, context: ApiContext, request: Request
    ) -> Response | Coroutine[Any, Any, Response]:
        """Answer by the handler of the call; for a candidate behind the check of what is its own.

        Raises what the check and the handler raise.
        """
        checking = self.owner(context, request) if self.owner and request.owner else None
        if checking is None:
            return handler(context, request)

        async def run() -> Response:
            await checking
            answer = handler(context, request)
            return answer if isinstance(answer, Response) else await answer

        return run()


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
    "venue-closed",
    "paused",
    "unknown-subject",
    "same-session-twice",
    "national-id-refused",
    "waiting-room-pass-required",
    "pass-invalid",
    "pass-expired",
    "pass-ended",
)
_OPS_ORDER = (
    "idempotency-key-missing",
    "idempotency-key-ambiguous",
    "idempotency-key-reused",
    "sold-out",
    "session-conflict",
    "session-started",
    "notice-not-accepted",
    "unknown-venue",
    "venue-closed",
    "unknown-subject",
    "same-session-twice",
    "national-id-refused",
)
_CODE = ("code-invalid", "code-used", "set-aside-over", "not-set-aside", "too-many-wrong-codes")
_CLAIM = (
    "national-id-refused",
    "waiting-room-off",
    "registration-closed",
    "ticket-invalid",
    "ticket-of-another-exam",
    "not-your-turn",
    "turn-passed",
    "ticket-used",
    "paused",
)
_WISH = (
    "idempotency-key-missing",
    "idempotency-key-ambiguous",
    "idempotency-key-reused",
    "waiting-list-off",
    "waiting-list-suspended",
    "waiting-list-full",
    "already-listed",
    "seats-on-sale",
    "session-conflict",
    "registration-not-open",
    "registration-closed",
    "session-started",
    "until-out-of-range",
    "unknown-venue",
    "venue-closed",
    "unknown-subject",
    "same-session-twice",
    "national-id-refused",
)
_WEBHOOK = "/v1/webhook-endpoints/{endpoint}"
_SOURCE = ("source-off", "entries-open", "source-not-due", "source-known")
_VENUE = ("unknown-venue", "unknown-subject", "registration-closed")
ANYONE: frozenset[Scope] = frozenset()
FRONTEND, REFUNDS, OPS, CANDIDATE = map(
    frozenset, ([Scope.FRONTEND], [Scope.REFUNDS], [Scope.OPS], [Scope.CANDIDATE])
)

# fmt: off
ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/exams", exams.list_exams, ANYONE,
          "Every exam", ("invalid-request", "not-ready")),
    Route("GET", "/v1/exams/{exam}", exams.get_exam, ANYONE,
          "One exam: windows, sessions, subjects, venues, fee and notice",
          (*_NO_EXAM, "not-ready")),
    Route("PUT", "/v1/exams/{exam}", exams.put_exam, OPS,
          "Import a definition; importing the same again changes nothing",
          (*_BODY, "definition-refused", "candidates-waiting", "exam-archived", *_STORES),
          body_max_bytes=MAX_FILE_BYTES),
    Route("GET", "/v1/exams/{exam}/availability", availability.get_availability, ANYONE,
          "Seats left at every venue",
          (*_NO_EXAM, "unknown-subject", "invalid-request", *_STORES)),
    Route("GET", "/v1/exams/{exam}/availability/stream",
          AiohttpOnly(streams.get_availability_stream), ANYONE,
          "Seats left at every venue, as they change",
          (*_NO_EXAM, "unknown-subject", "invalid-request", "last-event-id-malformed", *_STORES),
          own_priority=Priority.FREE),
    Route("POST", "/v1/exams/{exam}/reservations", reservations.post_reservation,
          FRONTEND | CANDIDATE, "Reserve all subjects at the first venue that has them",
          (*_BODY, *_NO_EXAM, *_ORDER, *_CODE, "reservation-ended", *_STORES),
          own_priority=Priority.RESERVE, owner=in_body),
    Route("GET", "/v1/exams/{exam}/candidates/{candidate}", candidates.get_candidate,
          FRONTEND | OPS | CANDIDATE, "All reservations of a candidate in an exam",
          (*_NO_EXAM, "invalid-request", "national-id-refused", *_STORES),
          own_priority=Priority.OWN_READ, owner=in_path),
    Route("GET", "/v1/reservations", search.get_reservations, OPS,
          "Find reservations by id, candidate or payment reference",
          (*_NO_EXAM, "invalid-request", "national-id-refused", *_STORES), has_exam_in_query=True),
    Route("GET", "/v1/reservations/{reservation}", reservations.get_reservation,
          FRONTEND | OPS | CANDIDATE,
          "One reservation and its payment", (*_NO_RESERVATION, *_STORES),
          own_priority=Priority.OWN_READ, owner=of_reservation),
    Route("DELETE", "/v1/reservations/{reservation}", reservations.delete_reservation,
          FRONTEND | CANDIDATE, "Give a hold back",
          (*_NO_RESERVATION, "already-confirmed", "payment-in-progress", *_STORES),
          own_priority=Priority.RELEASE, owner=of_reservation),
    Route("POST", "/v1/reservations/{reservation}/checkout", reservations.post_checkout,
          FRONTEND | CANDIDATE, "Payment begins: the deadline moves out once",
          (*_BODY, *_NO_RESERVATION, "reservation-ended", "already-confirmed", *_STORES),
          own_priority=Priority.RELEASE, owner=of_reservation),
    Route("PUT", "/v1/reservations/{reservation}/venue", reservations.put_venue,
          FRONTEND | CANDIDATE, "Change the venue of a hold or a booking",
          (*_BODY, *_NO_RESERVATION, "unknown-venue", "venue-closed", "paused", "sold-out",
           "reservation-ended", "payment-in-progress", "change-in-progress", "venue-changes-used",
           "key-share-used", "registration-not-open", "registration-closed", "session-started",
           *_STORES), own_priority=Priority.RELEASE, owner=of_reservation),
    Route("POST", "/v1/reservations/{reservation}/refund", reservations.post_refund,
          REFUNDS | CANDIDATE, "Refund a booking in full, once for each person and exam",
          (*_BODY, *_NO_RESERVATION, "not-confirmed", "reservation-ended", "refund-used",
           "payment-in-progress", "change-in-progress", "refund-not-open", "refund-closed",
           *_STORES), own_priority=Priority.RELEASE, owner=of_reservation),
    Route("POST", "/v1/exams/{exam}/ops-reservations", acting.post_ops_reservation, OPS,
          "Reserve for a candidate, also outside of the window",
          (*_BODY, *_NO_EXAM, *_OPS_ORDER, "reservation-ended", *_STORES)),
    Route("POST", "/v1/reservations/{reservation}/mark-paid", acting.post_mark_paid, OPS,
          "Mark a reservation as paid by hand",
          (*_BODY, *_NO_RESERVATION, "already-confirmed", "reservation-ended",
           "payment-in-progress", "event-id-reused", *_STORES)),
    Route("POST", "/v1/reservations/{reservation}/release", acting.post_release, OPS,
          "Give a hold back for its candidate",
          (*_BODY, *_NO_RESERVATION, "already-confirmed", "payment-in-progress", *_STORES)),
    Route("POST", "/v1/reservations/{reservation}/move", acting.post_move, OPS,
          "Change the venue for a candidate, also outside of the window",
          (*_BODY, *_NO_RESERVATION, "unknown-venue", "venue-closed", "sold-out",
           "reservation-ended", "payment-in-progress", "change-in-progress",
           "registration-closed", "session-started", *_STORES)),
    Route("POST", "/v1/reservations/{reservation}/ops-refund", acting.post_ops_refund, OPS,
          "Refund a booking for a candidate, also outside of the window",
          (*_BODY, *_NO_RESERVATION, "not-confirmed", "reservation-ended", "payment-in-progress",
           "change-in-progress", "refund-closed", *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-room",
          waiting_room.post_waiting_room, FRONTEND | CANDIDATE,
          "Join the waiting room: the draw before the opening, the queue after it",
          (*_BODY, *_NO_EXAM, "national-id-refused", "waiting-room-off", "registration-closed",
           *_STORES), own_priority=Priority.JOIN, owner=in_body),
    Route("GET", "/v1/exams/{exam}/waiting-room",
          waiting_room.get_waiting_room, ANYONE,
          "The public state of the waiting room",
          (*_NO_EXAM, "waiting-room-off", "not-ready")),
    Route("POST", "/v1/exams/{exam}/waiting-room/claims",
          waiting_room.post_claim, FRONTEND | CANDIDATE,
          "Claim a place: a ticket at its turn becomes a pass",
          (*_BODY, *_NO_EXAM, *_CLAIM, *_STORES), own_priority=Priority.RESERVE, owner=in_body),
    Route("DELETE", "/v1/exams/{exam}/waiting-room/claims/{candidate}",
          waiting_room.delete_claim, FRONTEND | CANDIDATE,
          "The candidate has finished: the place is free",
          (*_NO_EXAM, "invalid-request", "national-id-refused", "waiting-room-off", *_STORES),
          own_priority=Priority.RESERVE, owner=in_path),
    Route("PUT", "/v1/exams/{exam}/waiting-room", waiting_room.put_waiting_room, OPS,
          "Set the rate of admission, or let it adapt again",
          (*_BODY, *_NO_EXAM, "waiting-room-off", *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-room/pause", waiting_room.post_pause, OPS,
          "Pause admission", (*_BODY, *_NO_EXAM, "waiting-room-off", *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-room/resume", waiting_room.post_resume, OPS,
          "Resume admission", (*_BODY, *_NO_EXAM, "waiting-room-off", *_STORES)),
    Route("POST", "/v1/exams/{exam}/pause", day.post_pause, OPS,
          "Pause reserving: everywhere, at a venue, in a subject",
          (*_BODY, *_NO_EXAM, *_VENUE, "already-paused", *_STORES)),
    Route("POST", "/v1/exams/{exam}/resume", day.post_resume, OPS,
          "End a pause", (*_BODY, *_NO_EXAM, "unknown-venue", "unknown-subject", "not-paused",
                          *_STORES), is_long=True),
    Route("POST", "/v1/exams/{exam}/extend-holds", day.post_extend_holds, OPS,
          "Give live holds more time: all, those of a venue or a subject, or one",
          (*_BODY, *_NO_EXAM, "idempotency-key-missing", "idempotency-key-ambiguous",
           "idempotency-key-reused", "unknown-venue", "unknown-subject", "unknown-reservation",
           "reservation-ended", "already-confirmed", "payment-in-progress", *_STORES),
          is_long=True),
    Route("POST", "/v1/exams/{exam}/waiting-list", waiting_list.post_entry, FRONTEND | CANDIDATE,
          "Join the waiting list: wait for seats that are gone",
          (*_BODY, *_NO_EXAM, *_WISH, *_STORES), own_priority=Priority.JOIN, owner=in_body),
    Route("GET", "/v1/exams/{exam}/waiting-list/{entry}", waiting_list.get_entry,
          FRONTEND | OPS | CANDIDATE,
          "A place in the waiting list", (*_NO_EXAM, "unknown-entry", *_STORES),
          own_priority=Priority.OWN_READ, owner=of_entry),
    Route("DELETE", "/v1/exams/{exam}/waiting-list/{entry}", waiting_list.delete_entry,
          FRONTEND | CANDIDATE, "Leave the waiting list, or give an offer back",
          (*_NO_EXAM, "unknown-entry", "already-confirmed", "payment-in-progress", *_STORES),
          own_priority=Priority.RELEASE, owner=of_entry),
    Route("GET", "/v1/exams/{exam}/waiting-list", waiting_list_ops.get_waiting_list, OPS,
          "The waiting list and its entries",
          (*_NO_EXAM, "waiting-list-off", "invalid-request", "national-id-refused", *_STORES)),
    Route("PUT", "/v1/exams/{exam}/waiting-list", waiting_list_ops.put_waiting_list, OPS,
          "Set how many entries may wait for one quota",
          (*_BODY, *_NO_EXAM, "waiting-list-off", *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-list/pause", waiting_list_ops.post_pause, OPS,
          "Offer no seats", (*_BODY, *_NO_EXAM, "waiting-list-off", *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-list/resume", waiting_list_ops.post_resume, OPS,
          "Offer seats again", (*_BODY, *_NO_EXAM, "waiting-list-off", *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-list/suspend", waiting_list_ops.post_suspend, OPS,
          "Let nobody join", (*_BODY, *_NO_EXAM, "waiting-list-off", *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-list/reopen", waiting_list_ops.post_reopen, OPS,
          "Let candidates join again", (*_BODY, *_NO_EXAM, "waiting-list-off", *_STORES)),
    Route("GET", "/v1/exams/{exam}/waiting-room/proof", draws.get_proof, FRONTEND | CANDIDATE,
          "The proof that a ticket is in the draw",
          (*_NO_EXAM, "invalid-request", "waiting-room-off", "source-off", "entries-open",
           "not-in-draw", "ticket-invalid", "ticket-of-another-exam", *_STORES),
          own_priority=Priority.OWN_READ, owner=of_ticket),
    Route("POST", "/v1/exams/{exam}/waiting-room/source", draws.post_source, OPS,
          "Put in what the source of the draw has come to",
          (*_BODY, *_NO_EXAM, "waiting-room-off", *_SOURCE, "signature-invalid",
           "opened-without-draw", *_STORES)),
    Route("POST", "/v1/exams/{exam}/waiting-room/open-without-draw",
          draws.post_open_without_draw, OPS, "Open although the source of the draw has not come",
          (*_BODY, *_NO_EXAM, "waiting-room-off", *_SOURCE, *_STORES)),
    Route("GET", "/v1/exams/{exam}/operations", operations.get_operations, OPS,
          "What ops did in an exam, and what is in force",
          (*_NO_EXAM, "invalid-request", *_STORES)),
    Route("GET", "/v1/exams/{exam}/load", exam_load.get_exam_load, OPS,
          "What comes, is let in, held, refused and left, second by second",
          (*_NO_EXAM, "invalid-request", "unknown-venue", "unknown-subject", *_STORES)),
    Route("GET", "/v1/exams/{exam}/set-asides", set_asides.get_set_asides, OPS,
          "Seats that are kept for groups", (*_NO_EXAM, *_STORES)),
    Route("GET", "/v1/exams/{exam}/set-asides/{set_aside}/codes", set_asides.get_codes, OPS,
          "The codes of a set-aside, without the codes themselves",
          (*_NO_EXAM, "unknown-set-aside", "invalid-request", *_STORES)),
    Route("POST", "/v1/exams/{exam}/set-asides/{set_aside}/codes", set_asides.post_codes, OPS,
          "Make codes of a set-aside",
          (*_BODY, *_NO_EXAM, "unknown-set-aside", "set-aside-over", *_STORES)),
    Route("POST", "/v1/exams/{exam}/set-asides/{set_aside}/codes/{code}/revoke",
          set_asides.post_revoke, OPS, "Revoke a code",
          (*_BODY, *_NO_EXAM, "unknown-set-aside", "unknown-code", *_STORES)),
    Route("POST", "/v1/exams/{exam}/set-asides/{set_aside}/hand-out", set_asides.post_hand_out,
          OPS, "Reserve from a set-aside for a candidate, without a code",
          (*_BODY, *_NO_EXAM, *_OPS_ORDER, "unknown-set-aside", "set-aside-over", "not-set-aside",
           "reservation-ended", *_STORES)),
    Route("POST", "/v1/exams/{exam}/venues/{venue}/close", venues.post_close, OPS,
          "Close a venue for sale", (*_BODY, *_NO_EXAM, *_VENUE, *_STORES)),
    Route("POST", "/v1/exams/{exam}/venues/{venue}/open", venues.post_open, OPS,
          "Open a venue again", (*_BODY, *_NO_EXAM, *_VENUE, *_STORES)),
    Route("POST", "/v1/exams/{exam}/venues/{venue}/move-out", venues.post_move_out, OPS,
          "Move what stands at a closed venue to others",
          (*_BODY, *_NO_EXAM, "unknown-venue", *_STORES), is_long=True),
    Route("POST", "/v1/exams/{exam}/seat-releases", seat_releases.post_release, OPS,
          "Plan a seat release: more seats at a time",
          (*_BODY, *_NO_EXAM, "release-exists", "release-past", "release-too-late",
           "too-many-releases", "too-many-seats", "unknown-venue", "unknown-subject",
           "unknown-quota", "registration-closed", *_STORES),
          body_max_bytes=seat_releases.BODY_MAX_BYTES),
    Route("GET", "/v1/exams/{exam}/seat-releases", seat_releases.get_releases, OPS,
          "The seat releases of an exam", (*_NO_EXAM, *_STORES)),
    Route("GET", "/v1/exams/{exam}/seat-releases/{release}", seat_releases.get_release, OPS,
          "One seat release", (*_NO_EXAM, "unknown-release", *_STORES)),
    Route("DELETE", "/v1/exams/{exam}/seat-releases/{release}", seat_releases.delete_release, OPS,
          "Cancel a seat release that has not happened",
          (*_NO_EXAM, "invalid-request", "unknown-release", "release-done", *_STORES)),
    Route("GET", "/v1/exams/{exam}/refunds-due", ops.get_refunds_due, OPS,
          "Refunds due", (*_NO_EXAM, "invalid-request", *_STORES)),
    Route("POST", "/v1/exams/{exam}/refunds-due/{refund}/settle",
          ops.post_refund_settled, OPS,
          "The money was sent back", (*_NO_EXAM, "invalid-request", "unknown-refund", *_STORES)),
    Route("POST", "/v1/exams/{exam}/refunds-due/{refund}/reopen", ops.post_refund_reopened, OPS,
          "The money did not arrive: it is due again",
          (*_BODY, "unknown-exam", "unknown-refund", *_STORES)),
    Route("GET", "/v1/events", AiohttpOnly(events.get_events), OPS,
          "What happens, as it happens",
          (*_NO_EXAM, "invalid-request", "last-event-id-malformed", *_STORES),
          has_exam_in_query=True, own_priority=Priority.FREE),
    Route("GET", "/v1/refunds-due", ops.get_refunds_due, OPS,
          "Refunds due, of every exam and of payments without one",
          (*_NO_EXAM, "invalid-request", *_STORES), has_exam_in_query=True),
    Route("POST", "/v1/refunds-due/{refund}/settle", ops.post_refund_settled, OPS,
          "The money was sent back, for any exam", ("invalid-request", "unknown-refund", *_STORES)),
    Route("POST", "/v1/refunds-due/{refund}/reopen", ops.post_refund_reopened, OPS,
          "The money did not arrive: it is due again, for any exam",
          (*_BODY, "unknown-refund", *_STORES)),
    Route("GET", "/v1/ops-actions", ops_actions.get_ops_actions, OPS,
          "What ops did, why, and how it ended",
          (*_NO_EXAM, "invalid-request", "national-id-refused", *_STORES), has_exam_in_query=True),
    Route("GET", "/v1/unreadable-payments", ops.get_unreadable_payments, OPS,
          "Payment events that could not be parsed", ("invalid-request", *_STORES)),
    Route("POST", "/v1/unreadable-payments/{payment}/settle",
          ops.post_unreadable_settled, OPS,
          "A person has handled the event", ("invalid-request", "unknown-payment", *_STORES)),
    Route("POST", "/v1/webhook-endpoints", webhook_endpoints.post_endpoint, OPS,
          "Let events be sent to a URL",
          (*_BODY, *_NO_EXAM, "too-many-webhook-endpoints", *_STORES)),
    Route("GET", "/v1/webhook-endpoints", webhook_endpoints.get_endpoints, OPS,
          "Where events are sent to", _STORES),
    Route("GET", _WEBHOOK, webhook_endpoints.get_endpoint, OPS,
          "One webhook endpoint and how it stands", ("unknown-webhook-endpoint", *_STORES)),
    Route("DELETE", _WEBHOOK, webhook_endpoints.delete_endpoint, OPS,
          "Send nothing there any more",
          ("invalid-request", "unknown-webhook-endpoint", *_STORES)),
    Route("GET", f"{_WEBHOOK}/deliveries", webhook_endpoints.get_deliveries, OPS,
          "What was sent there, and what became of it",
          ("invalid-request", "unknown-webhook-endpoint", *_STORES)),
    Route("POST", f"{_WEBHOOK}/rotate-secret", webhook_endpoints.post_rotation, OPS,
          "Sign with a new secret", (*_BODY, "unknown-webhook-endpoint", *_STORES)),
    Route("POST", f"{_WEBHOOK}/disable", webhook_endpoints.post_disable, OPS,
          "Send nothing there until it is enabled",
          (*_BODY, "unknown-webhook-endpoint", *_STORES)),
    Route("POST", f"{_WEBHOOK}/enable", webhook_endpoints.post_enable, OPS,
          "Send there again, first what came meanwhile",
          (*_BODY, "unknown-webhook-endpoint", *_STORES)),
    Route("POST", f"{_WEBHOOK}/replay", webhook_endpoints.post_replay, OPS,
          "Send again what has happened since a time",
          (*_BODY, "unknown-webhook-endpoint", *_STORES), is_long=True),
    Route("POST", f"{_WEBHOOK}/test", webhook_endpoints.post_test, OPS,
          "Send an event that tells of nothing",
          (*_BODY, "unknown-webhook-endpoint", "webhook-endpoint-disabled", *_STORES)),
    Route("GET", "/v1/exams/{exam}/bookings.csv", AiohttpOnly(exports.get_bookings_csv),
          OPS,
          "All bookings as a file", (*_NO_EXAM, "invalid-request", *_STORES)),
    Route("GET", "/v1/exams/{exam}/roster.csv", AiohttpOnly(exports.get_roster_csv), OPS,
          "Who sits where, as a file",
          (*_NO_EXAM, "unknown-venue", "unknown-session", "invalid-request", *_STORES)),
    Route("POST", "/v1/exams/{exam}/archive", exams.post_archive, OPS,
          "Archive an exam that is over and settled; repeating it changes nothing",
          (*_BODY, "unknown-exam", "exam-not-over", "exam-unfinished", *_STORES)),
    Route("GET", "/v1/exams/{exam}/audit", ops.get_audit, OPS,
          "Both stores compared, promise by promise", (*_NO_EXAM, *_STORES), is_long=True),
    Route("POST", "/v1/candidate-tokens", candidate_tokens.post_candidate_token, FRONTEND,
          "A token with which a candidate's browser calls by itself",
          (*_BODY, *_NO_EXAM, "national-id-refused", "candidate-tokens-off"),
          has_exam_in_body=True, own_priority=Priority.OWN_READ),
    Route("POST", "/v1/candidate-tokens/revoke", candidate_tokens.post_revocation, FRONTEND | OPS,
          "Revoke the tokens of a candidate, or one",
          (*_BODY, "unknown-exam", "national-id-refused", *_STORES),
          has_exam_in_body=True, own_priority=Priority.RELEASE),
    Route("POST", "/v1/payment-callbacks", payments.post_payment_callback, ANYONE,
          "The payment provider reports a payment, signed",
          (*_BODY, "unauthorized", "event-id-reused", *_STORES), verify=payments.verify_callback,
          own_priority=Priority.CONFIRM),
    Route("GET", "/livez", service.get_livez, ANYONE, "The process is up",
          own_priority=Priority.FREE),
    Route("GET", "/readyz", service.get_readyz, ANYONE, "The service can serve", ("not-ready",),
          own_priority=Priority.FREE),
    Route("GET", "/openapi.json", AiohttpOnly(service.get_openapi), ANYONE, "This document"),
    Route("GET", "/docs", AiohttpOnly(service.get_docs), ANYONE, "A page to try the API"),
    Route("GET", "/problems/{slug}", service.get_problem, ANYONE,
          "What a problem type means", ("not-found",)),
)
# fmt: on
