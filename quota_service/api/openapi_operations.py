"""What the OpenAPI document says of each call beside the table of routes: name, words, bodies.

Address, scope, summary and refusals are those of the table. A body is described by its model, and
shown by what `shown` composes; where a call needs several examples, their members are here. It is
as long as there are calls.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field
from pydantic.config import JsonDict

from quota_service.api.availability import STATE_ID
from quota_service.api.events import EVENT_ID
from quota_service.api.exams import EXAMS_MAX
from quota_service.api.models import ExamId, ReservationId, VenueId
from quota_service.api.openapi_schemas import Schema, component, schema_of, shown
from quota_service.api.ops import PAGE_MAX
from quota_service.api.payments import EVENT_ID_MAX, Reference
from quota_service.api.problems import PROBLEMS
from quota_service.api.reservations import IDEMPOTENCY_KEY_MAX, Ids
from quota_service.api.search import FOUND_MAX
from quota_service.api.seat_releases import ReleaseId
from quota_service.api.set_asides import CodeId, SetAsideId
from quota_service.api.waiting_list import EntryId
from quota_service.api.webhook_endpoints import EndpointId
from quota_service.client.webhooks import TOLERANCE_S
from quota_service.definitions.files import load_sample_exam
from quota_service.domain.definition import exam_document
from quota_service.domain.event import EventKind
from quota_service.domain.webhook import DeliveryState
from quota_service.schema import (
    RESERVATION_EXAMPLE,
    TICKET_EXAMPLE,
    CandidateId,
    Identifier,
    Reason,
)
from quota_service.waiting_list.entry import EntryState

Members = Mapping[str, Any]
"""Of a body; those that take some work to know are called for when the document is made."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body by the name of its schema, and the members that its examples show by name.

    Without any it has one example, called as the schema; a document of no schema has none.
    """

    schema: str | None
    examples: Mapping[str, Members | Callable[[], Members]] = field(default_factory=dict)
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: what it answers by status, or with 200 the body of one schema; what it takes.

    `parameters` are those beside the path's, by component name. `headers` and `links` come with an
    answer, beside the headers all have. A call that takes `If-None-Match` can answer 304.
    """

    id: str
    answers: Mapping[int, Body] | str
    description: str
    body: Body | None = None
    parameters: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


def _definition() -> Members:
    return exam_document(load_sample_exam())


def _exam() -> Members:
    exam: Members = shown(component("Exam"), _definition())
    return exam


def _paid() -> Members:
    return {"state": "confirmed", "deadline": None, "payment": shown(component("Payment"))}


def _offer() -> Members:
    return {
        "reservation": RESERVATION_EXAMPLE,
        "venue": "jinan",
        "deadline": "2023-03-15T01:00:00.000Z",
    }


def _enabled() -> Members:
    return {"webhook_endpoint": shown(component("WebhookEndpoint"), _ENABLED)}


_SETTLED = {"settled": {"settled_at": "2023-03-15T01:00:00.000Z"}}
_PAID_TWICE = {"outcome": "refund_due", "reason": "already-paid"}
_QUEUING = {"kind": "number", "number": 412, "eta_s": 471.5}
_UNCHANGED: Members = {"changes": [], "warnings": []}
_NOTHING = Body("Nothing")
_PAGE = ("after", "limit")
_PLANNED: Members = {"source": "ops", "state": "planned", "ended_at": None}
_ENABLED: Members = dict.fromkeys(
    ("disabled_at", "disabled_reason", "failing_since", "old_secret_ends_at")
)
_REOPENING = (
    "The money of a settlement did not arrive: it is listed as due again, and the settlement stays "
    "in `settled_before`. `settled_at` names the settlement, so that a repeat never opens what was "
    "settled since; what is due already is answered as it is. The reason is kept with the key."
)

# fmt: off
OPERATIONS: Mapping[str, Operation] = {
    "GET /v1/exams": Operation("list_exams",
        {200: Body("ExamList", {"exams": lambda: {"exams": [_exam()]}})},
        "Served from memory; an import is seen by every process within about a second. Without "
        "`limit` all of them; where there may be many, ask for pages.",
        parameters=("after_exam", "exams_limit", "If-None-Match")),
    "GET /v1/exams/{exam}": Operation("get_exam", {200: Body("Exam", {"exam": _exam})},
        "Served from memory. `server_time` is the clock that opens and closes registration: count "
        "down by it, not by the visitor's own. It is no part of what the ETag names: a 304 has the "
        "header `Date`.", parameters=("If-None-Match",)),
    "PUT /v1/exams/{exam}": Operation("import_exam",
        {200: Body("ImportResult", {"changed": {"warnings": []}, "unchanged": _UNCHANGED}),
         201: Body("ImportResult", {"created": {"created": True, "changes": []}})},
        "Imports the whole definition or nothing of it; every mistake is listed at once. Seats "
        "can be added at any time, and removed while they are not taken. 201: the exam is new.",
        Body("ExamDefinition", {"definition": _definition}), parameters=("force",)),
    "GET /v1/exams/{exam}/availability": Operation("get_availability", "Availability",
        "No older than a fraction of a second (a setting of the service), or some seconds where "
        "the exam is large, and never passed off as newer than `as_of`. It is a look, not a "
        "promise: only a reservation takes seats.", parameters=("subjects", "If-None-Match")),
    "GET /v1/exams/{exam}/availability/stream": Operation("stream_availability",
        {200: Body("AvailabilityEvent", media_type="text/event-stream")},
        "Server-sent events, made for `EventSource`; the schema is that of each. `snapshot` comes "
        "first and carries the availability. `change` carries an AvailabilityChange: only the "
        "quotas that differ, as they are now, every second or two at most; set them in what you "
        "have. `stale` carries an AvailabilityStale: the seats cannot be read at the moment, and a "
        "`snapshot` ends it. A comment is a heartbeat.\n\n"
        "Each `snapshot` and `change` has an id. Sent as `Last-Event-ID`, which `EventSource` does "
        "by itself, it is answered with one `change` of all that came after, or with a `snapshot` "
        "when this process does not remember it. A reader too slow for the changes gets a "
        "`snapshot` instead, and one that stops reading is cut off. A filter beyond the number of "
        "filters that are watched at once gets the quotas of all subjects. A stream ends after "
        "about an hour, and when the service shuts down: open it again after `retry`, and after "
        "`Retry-After` when it is answered 503. HEAD is answered at once.",
        parameters=("subjects", "Last-Event-ID")),
    "POST /v1/exams/{exam}/reservations": Operation("reserve", {201: Body("Reservation")},
        "Takes a seat in every subject at the first venue that has them all, or nothing at all. "
        "The seats are held until `deadline`. Send it again with the same Idempotency-Key when the "
        "answer was lost or was a 503: it has one effect and the same answer. With a fee of 0 the "
        "reservation is booked and `confirmed` when it is answered; `reservation-ended` is a "
        "repeat that comes when the seats of one that was never booked have gone back. With a "
        "`code` all seats are those of its set-aside, and no pass is needed.",
        Body("Order"), parameters=("Idempotency-Key", "Waiting-Room-Pass"),
        headers=("Location", "Idempotency-Replayed"),
        links=("get_reservation", "release", "checkout")),
    "GET /v1/exams/{exam}/candidates/{candidate}": Operation("get_candidate", "CandidateView",
        "Reservations of every state, the ended ones too, and entries of the waiting list."),
    "GET /v1/reservations": Operation("find_reservations", "FoundReservations",
        "By `reservation`, `candidate` or `reference`: the provider's own of a payment, or the id "
        "of a payment event. Several narrow the search; without any nothing is found. What a "
        "candidate did in the last second may be missing. A key that is bound to an exam names it "
        "in `exam`.",
        parameters=("reservation_sought", "candidate_sought", "reference_sought", "exam_sought",
                    "after_reservation", "found_limit")),
    "GET /v1/reservations/{reservation}": Operation("get_reservation",
        {200: Body("Reservation", {"held": {}, "confirmed": _paid})},
        "The reservation as it is now."),
    "DELETE /v1/reservations/{reservation}": Operation("release",
        {200: Body("Reservation", {"released": {"state": "released"}})},
        "The seats go back at once. Doing it again changes nothing, and one that has expired "
        "meanwhile is answered as it ended."),
    "POST /v1/reservations/{reservation}/checkout": Operation("checkout",
        {200: Body("Reservation", {"checked_out": {"deadline": "2023-03-14T04:25:12.678Z"}})},
        "Call it when the candidate is sent to the payment provider. The deadline moves out by the "
        "exam's `checkout_grace_s` the first time; doing it again changes nothing.", _NOTHING),
    "PUT /v1/reservations/{reservation}/venue": Operation("change_venue",
        {200: Body("Reservation", {"moved": lambda: {**_paid(), "venue": "tianjin"}})},
        "The new seats are taken before the old ones go back, so a booking is never without; every "
        "seat of the old venue may be sold. At the venue it is at already, nothing changes. Ask "
        "again after any 503: it has one effect.", Body("VenueChange")),
    "POST /v1/reservations/{reservation}/refund": Operation("refund",
        {200: Body("Reservation", {"refunded": lambda: {**_paid(), "state": "refunded"}})},
        "Ends a booking within the refund window; the candidate may register again. A second one, "
        "also of the same booking, is `refund-used`, which names the reservation that was "
        "refunded: after a lost answer it shows whether the refund was made.", _NOTHING),
    "POST /v1/exams/{exam}/ops-reservations": Operation("reserve_for_candidate",
        {201: Body("Reservation")},
        "Reserves as a frontend does, until the first sitting begins: outside of the registration "
        "window too, without a pass of the waiting room and beyond the limits of fair use. It is "
        "held as long as any other. The reason is kept with the key.",
        Body("OpsOrder"), parameters=("Idempotency-Key",),
        headers=("Location", "Idempotency-Replayed")),
    "POST /v1/reservations/{reservation}/mark-paid": Operation("mark_paid",
        {200: Body("PaymentResult", {"confirmed": {}})},
        "Records a payment in full that the provider did not report: a captured event under the id "
        "`manual:` and the reference. A hold that has expired takes its seats again, or the money "
        "is due back, as of a late payment. A callback with the same reference later is the same "
        "payment. The reason is kept with the key.", Body("MarkedPaid")),
    "POST /v1/reservations/{reservation}/release": Operation("release_for_candidate",
        {200: Body("Reservation", {"released": {"state": "released"}})},
        "Does what DELETE does for a frontend; the reason is kept with the key.",
        Body("Reasoned")),
    "POST /v1/reservations/{reservation}/move": Operation("move_for_candidate",
        {200: Body("Reservation", {"moved": lambda: {**_paid(), "venue": "tianjin"}})},
        "Changes the venue of a hold or a booking until its first sitting begins, outside of the "
        "registration window too and beyond the limits of fair use. The reason is kept with the "
        "key.", Body("Move")),
    "POST /v1/reservations/{reservation}/ops-refund": Operation("refund_for_candidate",
        {200: Body("Reservation", {"refunded": lambda: {**_paid(), "state": "refunded"}})},
        "Refunds a booking in full outside of the refund window too, until a week after the exam "
        "is over, beside the one refund of a candidate. One that is refunded is answered as it is, "
        "and no money is due twice. The reason is kept with the key.", Body("Reasoned")),
    "POST /v1/exams/{exam}/waiting-room": Operation("join_waiting_room",
        {201: Body("Ticket", {"in_draw": {}, "in_queue": _QUEUING})},
        "Candidates who join before the opening take part in the draw, whenever and however often "
        "they join; after it numbers are given, first come, first served. Joining again gives the "
        "same ticket, as long as it can be used.", Body("Joining")),
    "GET /v1/exams/{exam}/waiting-room": Operation("get_waiting_room", "WaitingRoom",
        "Served from memory, the same for everybody, made anew each second; any proxy may keep it "
        "for a second. After the opening it reveals the seed, by which anyone can check the draw.",
        parameters=("If-None-Match",), headers=("Cache-Control",)),
    "POST /v1/exams/{exam}/waiting-room/claims": Operation("claim_place",
        {200: Body("Pass"), 201: Body("Pass")},
        "Claim at the turn of the ticket. A candidate has one pass at a time: claiming again gives "
        "the same one, with 200. A candidate who does not claim has no place.", Body("Claim")),
    "DELETE /v1/exams/{exam}/waiting-room/claims/{candidate}": Operation("finish_place", "Finished",
        "Give up the place of a candidate who has finished, so that the next one is admitted "
        "sooner. Repeating it changes nothing."),
    "PUT /v1/exams/{exam}/waiting-room": Operation("set_admission_rate", "SteeredRoom",
        "A rate that is set holds at any load; null lets it adapt again. "
        "Without load reports of any process no candidate is admitted.",
        Body("AdmissionRate", {"fixed_rate": {}, "adaptive_rate": {"rate": None}}),
        parameters=("reason_given",)),
    "POST /v1/exams/{exam}/waiting-room/pause": Operation("pause_admission",
        {200: Body("SteeredRoom", {"paused": {"paused": True}})},
        "No turn comes until admission is resumed. Admitted candidates may still claim, and their "
        "time to claim is extended by the pause. It needs no Redis.", _NOTHING,
        parameters=("reason_given",)),
    "POST /v1/exams/{exam}/waiting-room/resume": Operation("resume_admission", "SteeredRoom",
        "Admission goes on from where it was, at the rate it had.", _NOTHING,
        parameters=("reason_given",)),
    "POST /v1/exams/{exam}/pause": Operation("pause_exam", "PausedExam",
        "From the answer on no process reserves what is paused for a candidate: orders go to their "
        "other venues, else they are `paused`, a 503 with the reason; with `stops` `changes` so "
        "are changes of venue to it. Payments, checkouts, releases and refunds go on, as does what "
        "ops do for candidates; a repeat of an order that was answered gets that answer. While the "
        "exam is paused as a whole its waiting room admits nobody, and its waiting list is not "
        "dealt to. The exam and its availability have its pauses. Pauses of different scopes are "
        "independent.", Body("Pausing")),
    "POST /v1/exams/{exam}/resume": Operation("resume_exam",
        {200: Body("ResumedExam", {"resumed": {"pauses": []}})},
        "Ends the pause of exactly this venue and subject; those of other scopes stay. With "
        "`extend_holds` every live hold of that venue and subject has as much longer as the pause "
        "lasted, as by `extend-holds`.", Body("Resuming")),
    "POST /v1/exams/{exam}/extend-holds": Operation("extend_holds", "ExtendedHolds",
        "Moves out the deadlines of the live holds that there are now, each once and not beyond "
        "its first sitting; those that are being paid among them. None is made earlier. What has "
        "ended or is booked is left, and refused where it is the one that is named. Those that are "
        "due first come first. It is decided once it is noted; `operations` tells how far it is. "
        "Under the same Idempotency-Key a repeat is the same extension; without one it is another.",
        Body("Extending"), parameters=("Idempotency-Key-optional",),
        headers=("Idempotency-Replayed",)),
    "POST /v1/exams/{exam}/waiting-list": Operation("join_waiting_list",
        {201: Body("WaitingListEntry")},
        "The candidate waits for seats that are gone: all subjects at one of the venues, or "
        "nothing. Seats that come back, or are released, are offered to those who wait, in order, "
        "before they are on open sale. An offer is a hold with a deadline of its own: pay for it "
        "as for any other. It is durable when it is answered; send it again with the same "
        "Idempotency-Key when the answer was lost or was a 503.",
        Body("ListWish"), parameters=("Idempotency-Key",),
        headers=("Location", "Idempotency-Replayed")),
    "GET /v1/exams/{exam}/waiting-list/{entry}": Operation("get_waiting_list_entry",
        {200: Body("ListedEntry", {
            "waiting": {"position": {"first": 11, "last": 50},
                        "estimate": {"offered_within_a_day": 12}},
            "offered": lambda: {"state": "offered", "offer": _offer()}})},
        "The state now. The position is a band: other entries leave, and an entry that cannot be "
        "served in full is passed over."),
    "DELETE /v1/exams/{exam}/waiting-list/{entry}": Operation("leave_waiting_list",
        {200: Body("ListedEntry", {"left": {"state": "left",
                                            "ended_at": "2023-03-15T01:00:00.000Z"}})},
        "The seats of an offer go to the next entry. A repeat changes nothing; the candidate may "
        "join again, at the back."),
    "GET /v1/exams/{exam}/waiting-list": Operation("get_waiting_list", "WaitingListPage",
        "How many entries there are, by state and by quota, and the entries by number: of a "
        "`state` or a `candidate` where that is given.",
        parameters=("entry_state", "candidate_sought", *_PAGE)),
    "PUT /v1/exams/{exam}/waiting-list": Operation("cap_waiting_list", "WaitingList",
        "Those who wait already stay. The reason is kept with the key.", Body("ListLength")),
    "POST /v1/exams/{exam}/waiting-list/pause": Operation("pause_waiting_list",
        {200: Body("WaitingList", {"paused": {"paused": True}})},
        "No seats are offered until it is resumed; seats that come back wait. Offers that were "
        "made can be paid for. The reason is kept with the key.", Body("ListReason")),
    "POST /v1/exams/{exam}/waiting-list/resume": Operation("resume_waiting_list", "WaitingList",
        "Seats are offered again, in the order there was. The reason is kept with the key.",
        Body("ListReason")),
    "POST /v1/exams/{exam}/waiting-list/suspend": Operation("suspend_waiting_list",
        {200: Body("WaitingList", {"suspended": {"suspended": True}})},
        "Nobody can join until it is reopened; those who wait are served. The reason is kept with "
        "the key.", Body("ListReason")),
    "POST /v1/exams/{exam}/waiting-list/reopen": Operation("reopen_waiting_list", "WaitingList",
        "Candidates can join again. The reason is kept with the key.", Body("ListReason")),
    "GET /v1/exams/{exam}/waiting-room/proof": Operation("prove_entry", "EntryProof",
        "Of a draw with a public source: the path from the entry of the candidate to the root that "
        "the public document has had since the entries were frozen.", parameters=("ticket",)),
    "POST /v1/exams/{exam}/waiting-room/source": Operation("put_in_source", "SteeredRoom",
        "The outcome of an event, word for word as it was published, or the signature of a drand "
        "round that no worker can fetch. Once, and for good; the same again changes nothing. The "
        "reason is kept with the key.", Body("SourceEvidence")),
    "POST /v1/exams/{exam}/waiting-room/open-without-draw": Operation("open_without_draw",
        "SteeredRoom",
        "A source that does not come is waited for, and no candidate is admitted. Where that "
        "cannot go on, this decides finally to open without it: the key of the ranks is then the "
        "seed followed by the root of the entries, and the public document says so.",
        Body("Reasoned")),
    "GET /v1/exams/{exam}/operations": Operation("list_operations", "Operations",
        "Who paused, resumed, extended, closed, moved, released and refunded what, when, why, and "
        "how it ended: the newest first, of this exam alone. `GET /v1/ops-actions` has the same, "
        "the oldest first, of all exams, and finds what concerns a candidate.", parameters=_PAGE),
    "GET /v1/exams/{exam}/load": Operation("get_exam_load", "ExamLoad",
        "For the screen of ops: ask each second. It is read from what the stores hold, once a "
        "second for all who ask, and less often while reading it takes long; `as_of` says when. "
        "`joined` and `admitted` only grow, but for a recovery: what came in a second is the "
        "difference of two answers. With `venue` or `subject` the `seats` are of these alone; a "
        "hold has at most one seat in a subject.", parameters=("venue_asked", "subject_asked")),
    "GET /v1/exams/{exam}/set-asides": Operation("list_set_asides", "SetAsides",
        "What is kept for groups and what is left of it, those that are over too. The public is "
        "told nothing of them: seats that are kept are not among those on sale."),
    "GET /v1/exams/{exam}/set-asides/{set_aside}/codes": Operation("list_codes", "Codes",
        "With the number of live reservations and bookings that use each. The codes themselves are "
        "not stored.",
        parameters=_PAGE),
    "POST /v1/exams/{exam}/set-asides/{set_aside}/codes": Operation("make_codes",
        {201: Body("MadeCodes")},
        "Makes new codes, or takes given ones, of which the service keeps the hashes alone. A code "
        "that is made is in this answer and never again: when the answer was lost, revoke what is "
        "in the list and make others. Given ones can be sent again. Each can be used until it is "
        "revoked or the set-aside is over. The reason is kept with the key.", Body("CodeMaking")),
    "POST /v1/exams/{exam}/set-asides/{set_aside}/codes/{code}/revoke": Operation("revoke_code",
        {200: Body("Code", {"revoked": {"revoked_at": "2023-03-15T01:00:00.000Z"}})},
        "From the answer on nobody reserves with it. What was reserved stays; repeating it changes "
        "nothing. The reason is kept with the key.", Body("Reasoned")),
    "POST /v1/exams/{exam}/set-asides/{set_aside}/hand-out": Operation("hand_out",
        {201: Body("Reservation")},
        "As `ops-reservations`, with seats of the set-aside and of nothing else: outside of the "
        "window too, without a code, a pass and the limits of fair use. It is a hold like any "
        "other. The reason is kept with the key.", Body("OpsOrder"),
        parameters=("Idempotency-Key",), headers=("Location", "Idempotency-Replayed")),
    "POST /v1/exams/{exam}/venues/{venue}/close": Operation("close_venue", "VenueSale",
        "From the answer on no process sells a seat there: orders go to their other venues, else "
        "they are `venue-closed`, and nothing is shown as left. Holds and bookings stay, holds can "
        "still be paid. Repeating it changes nothing; the reason is kept with the key.",
        Body("VenueClosing")),
    "POST /v1/exams/{exam}/venues/{venue}/open": Operation("open_venue",
        {200: Body("VenueSale", {"open": {"closed_subjects": []}})},
        "What is left there can be reserved again.", Body("VenueClosing")),
    "POST /v1/exams/{exam}/venues/{venue}/move-out": Operation("move_out", "MovedOut",
        "Moves what has a subject that is closed there, also outside of the window and beyond "
        "the limits of changes; each to the first venue that has all its subjects: of those that "
        "its candidate ordered, in that order, then of `venues`. Call it again with `after` until "
        "`next` is null. After a 503 or a lost answer ask again: what has "
        "moved is not there any more. A hold keeps its deadline. What has a payment under way is "
        "moved once it is decided; `payment-in-progress` is told of one that a later call moves.",
        Body("MovingOut")),
    "POST /v1/exams/{exam}/seat-releases": Operation("plan_seat_release",
        {201: Body("SeatRelease", {"planned": _PLANNED})},
        "The seats come at their time, within a second, at the clock that `server_time` tells: "
        "where seats are dealt out, to the waiting list first. What is announced is in the exam's "
        "document, and of the next one in its availability. Send it again when the answer was "
        "lost: the same id with the same body has one effect. The reason is kept with the key.",
        Body("NewSeatRelease"), headers=("Idempotency-Replayed",)),
    "GET /v1/exams/{exam}/seat-releases": Operation("list_seat_releases", "SeatReleases",
        "Those of the definition and those of ops; ended ones stay."),
    "GET /v1/exams/{exam}/seat-releases/{release}": Operation("get_seat_release", "SeatRelease",
        "What was planned, and what became of it."),
    "DELETE /v1/exams/{exam}/seat-releases/{release}": Operation("cancel_seat_release",
        {200: Body("SeatRelease", {"cancelled": {"state": "cancelled",
                                             "ended_at": "2023-03-14T09:00:00.000Z"}})},
        "Its seats do not come; also of one that the definition has. Cancelling it again changes "
        "nothing. The id stays taken. The reason is kept with the key.", parameters=("reason",)),
    "GET /v1/exams/{exam}/refunds-due": Operation("list_refunds_due", "RefundsDue",
        "Captured payments that could not be seated, and refunds asked for, until they are marked "
        "as settled. `/v1/refunds-due` lists those that name no known exam. With `reservation` "
        "those of one reservation, settled ones too.", parameters=("reservation_due", *_PAGE)),
    "POST /v1/exams/{exam}/refunds-due/{refund}/settle": Operation("settle_refund_due",
        {200: Body("RefundDue", _SETTLED)},
        "Mark the money as sent back. Repeating it changes nothing.",
        parameters=("reason_given",)),
    "POST /v1/exams/{exam}/refunds-due/{refund}/reopen": Operation("reopen_refund_due", "RefundDue",
        _REOPENING, Body("Reopening")),
    "GET /v1/events": Operation("stream_events",
        {200: Body("Event", media_type="text/event-stream")},
        "Server-sent events; `data` of each is the event, the same bytes that webhooks bring, and "
        "`event` its type. Each is told after its fact is committed, those of one reservation in "
        "the order in which they came about; without a fault within a second. A hold whose step "
        "Redis lost before Postgres had it is told of by what became of it alone.\n\n"
        "Without a `Last-Event-ID` the stream begins now. With one it goes on behind it: nothing "
        "is left out, and nothing comes twice. Events are kept for 30 days; one that asks for "
        "older ones gets `missed` first, an event without an id whose data has the numbers `after` "
        "and `before` between which they are gone. A comment with an id is a heartbeat: it says "
        "how far the stream is. A stream ends after about an hour, when its key is revoked, and "
        "when the service shuts down: open it again after `retry`. A key that is bound to an exam "
        "names it in `exam`; payments that name no exam are told without `exam` alone.",
        parameters=("exam_sought", "kinds", "Last-Event-ID-number")),
    "GET /v1/refunds-due": Operation("list_all_refunds_due",
        {200: Body("RefundsDue", {"of_all": {"exam": None}})},
        "The refunds due of all exams, each once, and of payments that name no known exam. `exam` "
        "selects one exam; the empty value selects payments without an exam. With `reservation` "
        "those of one reservation, settled ones too.",
        parameters=("exam_asked", "reservation_due", *_PAGE)),
    "POST /v1/refunds-due/{refund}/settle": Operation("settle_any_refund_due",
        {200: Body("RefundDue", _SETTLED)},
        "Mark the money as sent back. Repeating it changes nothing.",
        parameters=("reason_given",)),
    "POST /v1/refunds-due/{refund}/reopen": Operation("reopen_any_refund_due", "RefundDue",
        _REOPENING, Body("Reopening")),
    "GET /v1/ops-actions": Operation("list_ops_actions", "OpsActions",
        "What ops did to venues and reservations or for candidates, and how it ended, the oldest "
        "first. `candidate` and `reservation` narrow it to what concerns them: a move-out of a "
        "venue too, once its steps are in the journal. A key that is bound to an exam names it in "
        "`exam`.",
        parameters=("exam_sought", "candidate_sought", "reservation_sought", *_PAGE)),
    "GET /v1/unreadable-payments": Operation("list_unreadable_payments", "UnreadablePayments",
        "Payment events with a valid signature that were answered 400 or 422, also those under the "
        "id of another event: there may be money behind them. An entry goes when it is settled, or "
        "when the provider sends the event again in a form that can be parsed.",
        parameters=_PAGE),
    "POST /v1/unreadable-payments/{payment}/settle": Operation("settle_unreadable_payment",
        {200: Body("UnreadablePayment", _SETTLED)},
        "Mark the event as handled by a person. Repeating it changes nothing.",
        parameters=("reason_given",)),
    "POST /v1/exams/{exam}/archive": Operation("archive_exam", "Archived",
        "Once its windows and its last sitting are over, and nothing of it is held, being paid or "
        "due back. It leaves lists, metrics and Redis for good; its bookings, candidates and money "
        "can still be read, and every other call answers `exam-archived`.", _NOTHING),
    "GET /v1/exams/{exam}/audit": Operation("audit_exam",
        {200: Body("Audit", {"clean": {"clean": True, "differences": []}, "different": {}})},
        "Compares Redis and Postgres quota by quota, and Postgres with itself, while requests go "
        "on; what is in flight is no difference. It reads whole tables: ask seldom."),
    "POST /v1/webhook-endpoints": Operation("make_webhook_endpoint",
        {201: Body("WebhookSecret", {"made": _enabled})},
        "Events are posted to it as [Standard Webhooks](https://www.standardwebhooks.com/) say, "
        "signed with the secret, which is shown this once. Each is delivered at least once, and "
        "those of a reservation in their order: the next one when the one before was answered "
        "with 2xx within 10 s. Anything else is tried again after growing pauses of 5 s to an "
        "hour, or as `Retry-After` says. Redirects are not followed. An endpoint that has taken "
        "nothing for three days is disabled, and one that answers 410 at once. A key that is bound "
        "to an exam may not make this call and those that follow.", Body("NewWebhookEndpoint")),
    "GET /v1/webhook-endpoints": Operation("list_webhook_endpoints", "WebhookEndpoints",
        "With how each stands, without their secrets."),
    "GET /v1/webhook-endpoints/{endpoint}": Operation("get_webhook_endpoint", "WebhookEndpoint",
        "How it stands, without its secret."),
    "DELETE /v1/webhook-endpoints/{endpoint}": Operation("delete_webhook_endpoint",
        "WebhookEndpoint",
        "What it has still to take is not sent. The reason is kept with the key.",
        parameters=("reason",)),
    "GET /v1/webhook-endpoints/{endpoint}/deliveries": Operation("list_webhook_deliveries",
        "WebhookDeliveries",
        "The newest event first. Deliveries are kept as long as their events, 30 days.",
        parameters=("delivery_state", *_PAGE)),
    "POST /v1/webhook-endpoints/{endpoint}/rotate-secret": Operation("rotate_webhook_secret",
        {200: Body("WebhookSecret", {"rotated": _enabled})},
        "The new secret is shown this once. For `keep_old_s` both sign: a receiver that knows one "
        "of them takes what comes. A worker that is sending goes on with the secrets before for "
        "some seconds. The reason is kept with the key.", Body("SecretRotation")),
    "POST /v1/webhook-endpoints/{endpoint}/disable": Operation("disable_webhook_endpoint",
        {200: Body("WebhookEndpoint", {"disabled": {"failing_since": None}})},
        "Events that happen meanwhile wait for it, for 30 days. The reason is kept with the key.",
        Body("Reasoned")),
    "POST /v1/webhook-endpoints/{endpoint}/enable": Operation("enable_webhook_endpoint",
        {200: Body("WebhookEndpoint", {"enabled": _ENABLED})},
        "What it has still to take is sent at once, with three days anew. One that fails is "
        "called at once too. The reason is kept with the key.", Body("Reasoned")),
    "POST /v1/webhook-endpoints/{endpoint}/replay": Operation("replay_webhook_deliveries",
        "WebhookReplay",
        "Each event since then that it is told of is sent once more under the same id, those of "
        "before it was made too. A receiver knows by the id what it has. When the answer is lost, "
        "make the call again. The reason is kept with the key.", Body("ReplayWanted")),
    "POST /v1/webhook-endpoints/{endpoint}/test": Operation("test_webhook_endpoint",
        {202: Body("WebhookEndpoint", {"accepted": _ENABLED})},
        "Sends it an event of the type `webhook.test`, ahead of what waits there and whatever "
        "pause it has; its deliveries tell what became of it. The reason is kept with the key.",
        Body("Reasoned")),
    "GET /v1/exams/{exam}/bookings.csv": Operation("export_bookings",
        {200: Body("BookingsFile", media_type="text/csv")},
        "Streamed, and safe to open in a spreadsheet: a cell that starts like a formula has an "
        "apostrophe in front. With `?for=excel` it starts with a byte order mark and has titles "
        "beside ids and times on the clocks of the exam, and every text that Excel would take for "
        "a number, a date or a formula has an apostrophe in front. A connection that breaks off "
        "means that the file is not whole.", parameters=("for",)),
    "GET /v1/exams/{exam}/roster.csv": Operation("export_roster",
        {200: Body("RosterFile", media_type="text/csv")},
        "The booked seats of a venue, of a session, or of both; of all when neither is given: a "
        "line for each candidate and subject, by candidate. Streamed, and safe to open in a "
        "spreadsheet, as the file of bookings is; `?for=excel` adds titles. `?holds=true` adds a "
        "column `state`, and after the bookings the seats of unpaid holds.",
        parameters=("venue_asked", "session_asked", "holds", "for")),
    "POST /v1/candidate-tokens": Operation("create_candidate_token",
        {201: Body("CandidateToken")},
        "For a frontend whose page in the candidate's browser calls by itself, once it has signed "
        "the candidate in. The token is `Authorization: Bearer` in the place of a key: with it a "
        "candidate looks, joins, claims, reserves, pays, changes, gives back and refunds what is "
        "its own in the exam, and nothing else. It ends at `expires_at`, when the key it was made "
        "with ends, or when it is revoked; nothing keeps it, so make another one rather than a "
        "long one.", Body("NewCandidateToken")),
    "POST /v1/candidate-tokens/revoke": Operation("revoke_candidate_tokens",
        "RevokedCandidateTokens",
        "For a lost device, or a session somebody else has: every process refuses the tokens "
        "within a second. A token that is made afterwards is not meant. With a reason it is noted "
        "among what ops did.", Body("TokenRevocation")),
    "POST /v1/payment-callbacks": Operation("report_payment",
        {200: Body("PaymentResult", {"confirmed": {}, "refund_due": _PAID_TWICE})},
        "Signed by the Standard Webhooks scheme: `webhook-signature` is `v1,` and the base64 of "
        "HMAC-SHA256 over `webhook-id.webhook-timestamp.body`. An answer of 200 is kept for good; "
        "after anything else the provider sends the event again, with the same id. A payment that "
        "is sent under another event id is answered as it was the first time. A signed event that "
        "cannot be parsed is kept for ops; unknown members are ignored.",
        Body("PaymentCallback", {"captured": {}, "disputed": {"status": "disputed"}}),
        parameters=("webhook-id", "webhook-timestamp")),
    "GET /livez": Operation("get_livez", "Health",
        "The process answers; restart it when this fails."),
    "GET /readyz": Operation("get_readyz", "Health",
        "Both stores answer, the scripts run, exams and keys are loaded, and it is not shutting "
        "down; otherwise send traffic elsewhere."),
    "GET /openapi.json": Operation("get_openapi", {200: Body(None, media_type="application/json")},
        "OpenAPI 3.1."),
    "GET /docs": Operation("get_docs", {200: Body(None, media_type="text/html")},
        "Needs nothing from elsewhere."),
    "GET /problems/{slug}": Operation("get_problem", "ProblemMeaning", "Where `type` leads to."),
}
# fmt: on
"""The calls by method and address."""


def _text(description: str, pattern: str | None = None, **more: Any) -> Schema:
    form = {} if pattern is None else {"pattern": pattern}
    return {"type": "string", **form, "description": description, **more}


def _count(description: str, most: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": most, "description": description}


def _printable(longest: int) -> str:
    """Return the pattern of a header of printable ASCII; spaces around it are not part of it."""
    return f"^[!-~]([ -~]{{0,{longest - 2}}}[!-~])?$"


def _in(place: str, form: Any, example: Any = None, **more: Any) -> Callable[[], Schema]:
    """Return what makes a parameter; one without an example is left empty by who tries the call."""

    def make() -> Schema:
        schema = form if isinstance(form, dict) else schema_of(form)
        shows = shown(schema) if example is None and place == "path" else example
        return {
            "in": place,
            "description": schema["description"],
            **({"required": True} if place == "path" else {}),
            "schema": {k: schema[k] for k in schema if k not in {"description", "examples"}},
            **({} if shows is None else {"example": shows}),
            **more,
        }

    return make


_ID = "^[1-9][0-9]{0,17}$"
_AFTER = "The `next` of the page before; from the start when left out."
_SUBJECTS = "Only these subjects, separated by commas; all when left out."
_MAY_REPEAT: JsonDict = {"uniqueItems": False}

# fmt: off
_PARAMETERS: Mapping[str, Callable[[], Schema]] = {
    "exam": _in("path", ExamId),
    "candidate": _in("path", CandidateId),
    "reservation": _in("path", ReservationId),
    "venue": _in("path", VenueId),
    "entry": _in("path", EntryId),
    "set_aside": _in("path", SetAsideId),
    "code": _in("path", CodeId),
    "entry_state": _in(
        "query", _text("Only entries in this state.", enum=[*EntryState]), name="state"),
    "endpoint": _in("path", EndpointId),
    "delivery_state": _in(
        "query", _text("Only deliveries in this state.", enum=[*DeliveryState]), name="state"),
    "release": _in("path", Annotated[ReleaseId, Field(description="Id of the seat release.")]),
    "reason": _in("query", Annotated[Reason, Field(description="Why.")], required=True),
    "reason_given": _in(
        "query", Annotated[Reason, Field(description="Why; kept with who did it.")],
        name="reason"),
    "refund": _in("path", _text("Id of the refund due.", _ID), "42"),
    "payment": _in("path", _text("Id of the entry.", _ID), "7"),
    "slug": _in("path", _text("Name of the problem type.", enum=[*PROBLEMS]), "sold-out"),
    "subjects": _in(
        "query", Annotated[Ids, Field(description=_SUBJECTS, json_schema_extra=_MAY_REPEAT)],
        ["general", "qms"], style="form", explode=False),
    "exam_asked": _in(
        "query", _text("Only this exam; all when omitted, payments without one when empty."),
        name="exam"),
    "reservation_due": _in(
        "query", Annotated[Reference, Field(description="Only this reservation.")],
        name="reservation"),
    "ticket": _in("query", _text("The ticket that joining gave.", "^[A-Za-z0-9._-]{1,256}$"),
                  TICKET_EXAMPLE, required=True),
    "venue_asked": _in("query", _text("Only this venue; all when omitted."), name="venue"),
    "subject_asked": _in("query", _text("Only this subject; all when omitted."), name="subject"),
    "session_asked": _in("query", _text("Only this session; all when omitted."), name="session"),
    "after": _in("query", _text(_AFTER, "^(0|[1-9][0-9]{0,17})$")),
    "after_exam": _in("query", Annotated[Identifier, Field(description=_AFTER)], name="after"),
    "kinds": _in(
        "query", Annotated[list[EventKind], Field(description="Only these; all when omitted.")],
        ["reservation.confirmed", "payment.refund_due"], style="form", explode=False),
    "Last-Event-ID-number": _in(
        "header", _text("The id of the event seen last; go on after it. Empty: none was seen.",
                        f"^({EVENT_ID.pattern})?$"), name="Last-Event-ID"),
    "reservation_sought": _in("query", ReservationId, name="reservation"),
    "candidate_sought": _in("query", CandidateId, name="candidate"),
    "reference_sought": _in(
        "query", Annotated[Reference, Field(description="Of a payment.")], name="reference"),
    "exam_sought": _in(
        "query", Annotated[Identifier, Field(description="Only this exam; all when omitted.")],
        name="exam"),
    "after_reservation": _in(
        "query", Annotated[ReservationId, Field(description=_AFTER)], name="after"),
    "found_limit": _in(
        "query", _count(f"Maximum of items to list; {FOUND_MAX} when omitted.", FOUND_MAX),
        name="limit"),
    "limit": _in("query", _count("Maximum of items to list; 100 when omitted.", PAGE_MAX)),
    "exams_limit": _in(
        "query", _count("Maximum of items to list; all when omitted.", EXAMS_MAX), name="limit"),
    "for": _in(
        "query", _text("`excel` for a file that a person opens; omitted, the file is for programs.",
                       enum=["excel"])),
    "force": _in(
        "query", _text("`true` removes the waiting room or list even while candidates wait in it.",
                       enum=["true", "false"])),
    "holds": _in(
        "query", _text("`true` adds unpaid holds, and the state of each line.",
                       enum=["true", "false"])),
    "If-None-Match": _in("header", _text("ETags that the client has; 304 when one is current.")),
    "Last-Event-ID": _in(
        "header", _text("The id of the event seen last; go on after it. Empty: none was seen.",
                        f"^({STATE_ID.pattern})?$")),
    "Idempotency-Key": _in(
        "header", _text("Names the request: a new one for each order, the same for a repeat.",
                        _printable(IDEMPOTENCY_KEY_MAX)),
        "3c1f3f0e-7f53-4f39-9f0b-0d6c0c0f3f6a", required=True),
    "Idempotency-Key-optional": _in(
        "header", _text("Names the request, so that a repeat has no effect of its own.",
                        _printable(IDEMPOTENCY_KEY_MAX)), name="Idempotency-Key"),
    "Waiting-Room-Pass": _in(
        "header",
        _text("The pass of the candidate where the exam has a waiting room; elsewhere ignored.")),
    "webhook-id": _in(
        "header",
        _text("Id of the event, the same each time it is sent.", _printable(EVENT_ID_MAX)),
        "evt_2KWPBgLlAfxdpx2AI54pPJ85f4W", required=True),
    "webhook-timestamp": _in(
        "header", _text("When it is sent, in seconds since the Unix epoch; more than "
                        f"{TOLERANCE_S} s away from now it is refused.", "^[0-9]{1,15}$"),
        "1678766400", required=True),
    "X-Request-ID": _in(
        "header", _text("Names the request in logs and in the answer, if it is 1 to 64 letters, "
                        "digits, dots, underscores and dashes; else a new one is made.")),
}
# fmt: on


def parameters() -> Mapping[str, Schema]:
    """Return the parameters by component name; those of paths are called as in the path."""
    return {key: {"name": key, **make()} for key, make in _PARAMETERS.items()}
