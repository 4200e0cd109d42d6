"""What the OpenAPI document says of each call: name, words, bodies, answers.

Address, scope, summary and refusals stand in the table of routes; here stands the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Body:
    """A body as the document tells it: the names of its schema and of its examples."""

    schema: str | None
    examples: tuple[str, ...] = ()
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer other than a problem; `headers` beside the request id, which all have."""

    description: str
    body: Body | None = None
    headers: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One call; `parameters` beside those in the path, by component name."""

    id: str
    tag: str
    description: str
    answers: Mapping[int, Answer]
    parameters: tuple[str, ...] = ()
    body: Body | None = None
    body_is_required: bool = True
    signed: bool = False


TAGS: Mapping[str, str] = {
    "exams": "What can be taken, when and where, and what is left of it.",
    "reservations": "Holding seats, paying for them, giving them back.",
    "waiting room": "Being let in, fairly, at the rate the service bears.",
    "payments": "What the payment provider reports.",
    "operations": "Running the exam: needs a key with the scope `ops`.",
    "service": "Health, and the documents of this API.",
}

_EVENTS = ("snapshot_event", "change_event", "stale_event")
_STEPS = ("get_reservation", "release", "checkout")
_RESERVATION_TAG, _EXAM_TAG, _SERVICE_TAG = "reservations", "exams", "service"
_ROOM_TAG = "waiting room"


def _reservation(description: str, *examples: str) -> Answer:
    return Answer(description, Body("Reservation", examples))


OPERATIONS: Mapping[str, Operation] = {
    "GET /v1/exams": Operation(
        "list_exams",
        _EXAM_TAG,
        "Served from memory; an import is seen by every process within about a second. Without "
        "`limit` all of them; where there may be many, ask for pages.",
        {
            200: Answer("Exams, by id.", Body("ExamList", ("exams",)), ("ETag",)),
            304: Answer("No definition has changed since the ETag named.", headers=("ETag",)),
        },
        parameters=("after_exam", "exams_limit", "If-None-Match"),
    ),
    "GET /v1/exams/{exam}": Operation(
        "get_exam",
        _EXAM_TAG,
        "Served from memory. `server_time` is the clock that opens and closes registration: count "
        "down by it, not by the visitor's own. It is no part of what the ETag names: a 304 has the "
        "header `Date`.",
        {
            200: Answer("The exam.", Body("Exam", ("exam",)), ("ETag",)),
            304: Answer("The definition has not changed since the ETag named.", headers=("ETag",)),
        },
        parameters=("If-None-Match",),
    ),
    "PUT /v1/exams/{exam}": Operation(
        "import_exam",
        "operations",
        "Brings the whole definition in, or nothing of it; every mistake is listed at once. Seats "
        "can be added at any time, and taken back as far as nobody has them.",
        {
            200: Answer(
                "The exam was there; what changed is listed.",
                Body("ImportResult", ("changed", "unchanged")),
            ),
            201: Answer("The exam is new.", Body("ImportResult", ("created",))),
        },
        body=Body("ExamDefinition", ("definition",)),
    ),
    "GET /v1/exams/{exam}/availability": Operation(
        "get_availability",
        _EXAM_TAG,
        "No older than a fraction of a second (a setting of the service), or some seconds where "
        "the exam is large, and never passed off as newer than `as_of`. It is a look, not a "
        "promise: only a reservation takes seats.",
        {
            200: Answer("What is left.", Body("Availability", ("availability",)), ("ETag",)),
            304: Answer("Nothing has changed since the ETag named.", headers=("ETag",)),
        },
        parameters=("subjects", "If-None-Match"),
    ),
    "GET /v1/exams/{exam}/availability/stream": Operation(
        "stream_availability",
        _EXAM_TAG,
        "Server-sent events, made for `EventSource`. `snapshot` comes first and carries the same "
        "JSON as the availability. `change` carries an AvailabilityChange: only the quotas that "
        "differ, as they are now, every second or two at most; set them in what you have. "
        "`stale` carries an AvailabilityStale: the seats cannot be read at the moment, and what "
        "you have is only as of then; a `snapshot` ends it. A comment is a heartbeat.\n\n"
        "Each `snapshot` and `change` has an id. Sent as `Last-Event-ID`, which `EventSource` does "
        "by itself, it is answered with one `change` of all that came after, or with a `snapshot` "
        "when this process does not remember it. A reader too slow for the changes misses some and "
        "gets a `snapshot` instead. A filter beyond the number of filters that are watched at once "
        "gets the quotas of all subjects. One that stops reading is cut off. A stream ends after "
        "about an hour, and when the service shuts down: open it again after `retry`, and after "
        "`Retry-After` when it is answered 503. HEAD is answered at once.",
        {
            200: Answer(
                "Events until the stream ends; the schema is that of each.",
                Body("AvailabilityEvent", _EVENTS, "text/event-stream"),
            )
        },
        parameters=("subjects", "Last-Event-ID"),
    ),
    "POST /v1/exams/{exam}/reservations": Operation(
        "reserve",
        _RESERVATION_TAG,
        "Takes a seat in every subject at the first venue that has them all, or nothing at all. "
        "The seats are held until `deadline`. Send it again with the same Idempotency-Key when the "
        "answer was lost or was a 503: it has one effect and the same answer. With a fee of 0 the "
        "reservation is booked and `confirmed` when it is answered; `reservation-ended` is a "
        "repeat that comes when the seats of one that was never booked have gone back.",
        {
            201: Answer(
                "The seats are held; a repeat is answered as the first was.",
                Body("Reservation", ("held", "free")),
                ("Location", "Idempotency-Replayed"),
                _STEPS,
            )
        },
        parameters=("Idempotency-Key", "Waiting-Room-Pass"),
        body=Body("Order", ("order",)),
    ),
    "GET /v1/exams/{exam}/candidates/{candidate}": Operation(
        "get_candidate",
        _RESERVATION_TAG,
        "Reservations of every state, the ended ones too.",
        {200: Answer("What the candidate has.", Body("CandidateView", ("candidate",)))},
    ),
    "GET /v1/reservations/{reservation}": Operation(
        "get_reservation",
        _RESERVATION_TAG,
        "The reservation as it is now.",
        {200: _reservation("The reservation.", "held", "confirmed")},
    ),
    "DELETE /v1/reservations/{reservation}": Operation(
        "release",
        _RESERVATION_TAG,
        "The seats go back at once. Doing it again changes nothing, and one that has expired "
        "meanwhile is answered as it ended.",
        {200: _reservation("The reservation, ended.", "released")},
    ),
    "POST /v1/reservations/{reservation}/checkout": Operation(
        "checkout",
        _RESERVATION_TAG,
        "Call it when the candidate is sent to the payment provider. The deadline moves out by the "
        "exam's `checkout_grace_s` the first time; doing it again changes nothing.",
        {200: _reservation("The reservation with its deadline.", "checked_out")},
        body=Body("Nothing", ("nothing",)),
        body_is_required=False,
    ),
    "PUT /v1/reservations/{reservation}/venue": Operation(
        "change_venue",
        _RESERVATION_TAG,
        "The new seats are taken before the old ones go back, so a booking is never without; every "
        "seat of the old venue may be sold. At the venue it is at already, nothing changes. Ask "
        "again after any 503: it has one effect.",
        {200: _reservation("The reservation at the venue.", "moved")},
        body=Body("VenueChange", ("venue_change",)),
    ),
    "POST /v1/reservations/{reservation}/refund": Operation(
        "refund",
        _RESERVATION_TAG,
        "Ends a booking within the refund window; the candidate may register again. A second one, "
        "also of the same booking, is `refund-used`, which names the reservation that was "
        "refunded: when an answer was lost, that tells whether it was done.",
        {200: _reservation("The reservation, refunded.", "refunded")},
        body=Body("Nothing", ("nothing",)),
        body_is_required=False,
    ),
    "POST /v1/exams/{exam}/waiting-room": Operation(
        "join_waiting_room",
        _ROOM_TAG,
        "Before the opening everybody who joins takes part in the draw, whenever and however often "
        "they do; after it numbers are given, first come, first served. Joining again gives the "
        "same ticket, as long as it can be used.",
        {201: Answer("The ticket.", Body("Ticket", ("in_draw", "in_queue")))},
        body=Body("Joining", ("joining",)),
    ),
    "GET /v1/exams/{exam}/waiting-room": Operation(
        "get_waiting_room",
        _ROOM_TAG,
        "Served from memory, the same for everybody, made anew each second; any proxy may keep it "
        "for a second. After the opening it reveals the seed, by which anyone can check the draw.",
        {
            200: Answer(
                "The waiting room.",
                Body("WaitingRoom", ("room_before", "room_draw")),
                ("ETag", "Cache-Control"),
            ),
            304: Answer(
                "Nothing has changed since the ETag named.", headers=("ETag", "Cache-Control")
            ),
        },
        parameters=("If-None-Match",),
    ),
    "POST /v1/exams/{exam}/waiting-room/claims": Operation(
        "claim_place",
        _ROOM_TAG,
        "Claim when the turn has come. A candidate has one pass at a time: claiming again gives "
        "the same one. Nobody holds a place who does not claim.",
        {
            200: Answer("The pass the candidate has.", Body("Pass", ("granted",))),
            201: Answer("A pass.", Body("Pass", ("granted",))),
        },
        body=Body("Claim", ("claim",)),
    ),
    "DELETE /v1/exams/{exam}/waiting-room/claims/{candidate}": Operation(
        "finish_place",
        _ROOM_TAG,
        "Say that a candidate needs the place no more: somebody else is let in the sooner. Saying "
        "it again changes nothing.",
        {200: Answer("The candidate has no place.", Body("Finished", ("finished",)))},
    ),
    "PUT /v1/exams/{exam}/waiting-room": Operation(
        "set_admission_rate",
        "operations",
        "A rate that is set holds whatever the load, until it is set to null and adapts again. "
        "Even so nobody is admitted while no process reports its load.",
        {200: Answer("The waiting room.", Body("SteeredRoom", ("steered",)))},
        body=Body("AdmissionRate", ("fixed_rate", "adaptive_rate")),
    ),
    "POST /v1/exams/{exam}/waiting-room/pause": Operation(
        "pause_admission",
        "operations",
        "Nobody's turn comes until it is resumed. Whose turn has come may still claim, and no time "
        "of the grace for that goes by. It needs no Redis.",
        {200: Answer("The waiting room.", Body("SteeredRoom", ("room_paused",)))},
        body=Body("Nothing", ("nothing",)),
        body_is_required=False,
    ),
    "POST /v1/exams/{exam}/waiting-room/resume": Operation(
        "resume_admission",
        "operations",
        "Admission goes on from where it was, at the rate it had.",
        {200: Answer("The waiting room.", Body("SteeredRoom", ("steered",)))},
        body=Body("Nothing", ("nothing",)),
        body_is_required=False,
    ),
    "GET /v1/exams/{exam}/refunds-due": Operation(
        "list_refunds_due",
        "operations",
        "Captured payments that could not be seated, and refunds asked for, until they are marked "
        "as settled. `/v1/refunds-due` lists those that name no exam we know.",
        {200: Answer("A page of them.", Body("RefundsDue", ("refunds_due",)))},
        parameters=("after", "limit"),
    ),
    "POST /v1/exams/{exam}/refunds-due/{refund}/settle": Operation(
        "settle_refund_due",
        "operations",
        "Say that the money was sent back. Saying it again changes nothing.",
        {200: Answer("The refund, settled.", Body("RefundDue", ("settled",)))},
    ),
    "GET /v1/refunds-due": Operation(
        "list_all_refunds_due",
        "operations",
        "As of one exam, of all of them: each once, also what names no exam we know. `exam` "
        "chooses one; left empty it chooses what names none.",
        {200: Answer("A page of them.", Body("RefundsDue", ("all_refunds_due",)))},
        parameters=("exam_asked", "after", "limit"),
    ),
    "POST /v1/refunds-due/{refund}/settle": Operation(
        "settle_any_refund_due",
        "operations",
        "Say that the money was sent back. Saying it again changes nothing.",
        {200: Answer("The refund, settled.", Body("RefundDue", ("settled",)))},
    ),
    "GET /v1/unreadable-payments": Operation(
        "list_unreadable_payments",
        "operations",
        "Payment events with a right signature that were answered 400 or 422, also those under the "
        "id of another event: there may be money behind them. An entry goes when it is settled, or "
        "when the provider has told the event again in words that can be understood.",
        {200: Answer("A page of them.", Body("UnreadablePayments", ("unreadable_payments",)))},
        parameters=("after", "limit"),
    ),
    "POST /v1/unreadable-payments/{payment}/settle": Operation(
        "settle_unreadable_payment",
        "operations",
        "Say that a person has dealt with it. Saying it again changes nothing.",
        {200: Answer("The event, settled.", Body("UnreadablePayment", ("unreadable_settled",)))},
    ),
    "POST /v1/exams/{exam}/archive": Operation(
        "archive_exam",
        "operations",
        "Once its windows and its last sitting are over, and nothing of it is held, being paid or "
        "due back. It leaves lists, metrics and Redis for good; its bookings, candidates and money "
        "can still be read, and every other call answers `exam-archived`.",
        {200: Answer("Since when it is.", Body("Archived", ("archived",)))},
        body=Body("Nothing", ("nothing",)),
        body_is_required=False,
    ),
    "GET /v1/exams/{exam}/audit": Operation(
        "audit_exam",
        "operations",
        "Compares Redis and Postgres quota by quota, and Postgres with itself, while requests go "
        "on; what is in flight is no difference. It reads whole tables: ask seldom.",
        {200: Answer("What was found.", Body("Audit", ("clean", "different")))},
    ),
    "GET /v1/exams/{exam}/bookings.csv": Operation(
        "export_bookings",
        "operations",
        "Streamed, however many there are, and safe to open in a spreadsheet: a cell that starts "
        "like a formula has an apostrophe in front. With `?for=excel` the file starts with a byte "
        "order mark, has titles beside ids and times on the clocks of the exam, and every text "
        "that Excel would take for a number, a date or a formula has an apostrophe in front. A "
        "connection that breaks off means that the file is not whole.",
        {200: Answer("Every booking.", Body("BookingsFile", ("bookings",), "text/csv"))},
        parameters=("for",),
    ),
    "POST /v1/payment-callbacks": Operation(
        "report_payment",
        "payments",
        "Signed by the Standard Webhooks scheme: `webhook-signature` is `v1,` and the base64 of "
        "HMAC-SHA256 over `webhook-id.webhook-timestamp.body`. An answer of 200 is kept for good; "
        "after anything else the provider sends the event again, with the same id. A payment that "
        "is told under another event id is answered as it was the first time. What is signed and "
        "cannot be understood is kept for ops; members that are unknown are passed over.",
        {
            200: Answer(
                "How the event ended.",
                Body("PaymentResult", ("booked", "refund_due", "ignored", "recorded")),
            )
        },
        parameters=("webhook-id", "webhook-timestamp"),
        body=Body("PaymentCallback", ("captured", "failed", "disputed")),
        signed=True,
    ),
    "GET /livez": Operation(
        "get_livez",
        _SERVICE_TAG,
        "Says only that the process answers; a failure is a reason to restart it.",
        {200: Answer("It is up.", Body("Health", ("ok",)))},
    ),
    "GET /readyz": Operation(
        "get_readyz",
        _SERVICE_TAG,
        "Both stores answer, the scripts run, exams and keys are loaded, and it is not shutting "
        "down; otherwise send traffic elsewhere.",
        {200: Answer("It can serve.", Body("Health", ("ok",)))},
    ),
    "GET /openapi.json": Operation(
        "get_openapi",
        _SERVICE_TAG,
        "OpenAPI 3.1.",
        {200: Answer("The document.", Body(None))},
    ),
    "GET /docs": Operation(
        "get_docs",
        _SERVICE_TAG,
        "Needs nothing from elsewhere.",
        {200: Answer("The page.", Body(None, media_type="text/html"))},
    ),
    "GET /problems/{slug}": Operation(
        "get_problem",
        _SERVICE_TAG,
        "What the `type` of a problem leads to.",
        {200: Answer("Its meaning.", Body("ProblemMeaning", ("problem_meaning",)))},
    ),
}
"""The calls by method and address."""
