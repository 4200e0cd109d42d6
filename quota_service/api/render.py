"""Turns what the use cases return into the JSON of the contract, by the models of answers."""

import base64
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from quota_service.api import answers, ops_answers, room_answers
from quota_service.api.times import rfc3339
from quota_service.domain.definition import exam_document
from quota_service.domain.exam import Exam
from quota_service.domain.payment import PaymentResult, RecordedPayment
from quota_service.domain.reservation import Reservation, State
from quota_service.http.response import Response
from quota_service.ledger.refunds import RecordedRefund
from quota_service.ledger.refunds_due import RefundDue
from quota_service.ledger.unreadable_payments import UnreadablePayment
from quota_service.registration.audit import Audit
from quota_service.registration.availability import Availability, QuotaLeft
from quota_service.registration.availability_changes import AvailabilityChange
from quota_service.registration.import_exam import Imported
from quota_service.registration.reserve import Reserved
from quota_service.registration.steer_room import SteeredRoom
from quota_service.registration.view import CandidateView, Step
from quota_service.registration.waiting_room import Claimed, Joined
from quota_service.waiting_room.document import PublicDocument
from quota_service.waiting_room.signals import Report


def reserved(found: Reserved) -> Response:
    """Return the answer to a reservation that stands."""
    headers: tuple[tuple[str, str], ...] = (
        ("Location", f"/v1/reservations/{found.reservation.id}"),
    )
    if found.replayed:
        headers += (("Idempotency-Replayed", "true"),)
    return Response.json(reservation_json(found.reservation), 201, headers)


def payment_result(result: PaymentResult) -> Response:
    """Return the answer to a callback; one that is due back says why."""
    answer: answers.PaymentResult = {"outcome": result.outcome, "reservation": result.reservation}
    if result.reason is not None:
        answer["reason"] = result.reason
    return Response.json(answer)


def reservation_json(
    reservation: Reservation, payment: RecordedPayment | None = None
) -> answers.Reservation:
    """Return a reservation; one that was paid has no deadline any more."""
    state = reservation.state
    was_paid = state is not State.HELD and (state.is_booked or state is State.REFUNDED)
    return {
        "id": reservation.id,
        "exam": reservation.exam,
        "candidate": reservation.candidate,
        "venue": reservation.venue,
        "subjects": reservation.subjects,
        "state": state,
        "amount": reservation.amount,
        "currency": reservation.currency,
        "deadline": None if was_paid else rfc3339(reservation.deadline_ms),
        "created_at": rfc3339(reservation.created_ms),
        "payment": None if payment is None else payment_json(payment),
    }


def payment_json(payment: RecordedPayment) -> answers.Payment:
    """Return a recorded payment."""
    return {
        "status": payment.status,
        "outcome": payment.outcome,
        "reason": payment.reason,
        "amount": payment.amount,
        "currency": payment.currency,
        "paid_at": rfc3339(payment.paid_at_ms),
        "provider_reference": payment.provider_reference,
        "refunded_at": _time_or_none(payment.refunded_ms),
        "disputed_at": _time_or_none(payment.disputed_ms),
    }


def refund_due_json(due: RefundDue) -> ops_answers.RefundDue:
    """Return money that has to go back."""
    return {
        "id": str(due.id),
        "event": due.event,
        "exam": due.exam,
        "reservation": due.reservation,
        "reason": due.reason,
        "amount": due.amount,
        "currency": due.currency,
        "provider_reference": due.provider_reference,
        "due_at": rfc3339(due.due_ms),
        "settled_at": _time_or_none(due.settled_ms),
        "refunded_at": _time_or_none(due.refunded_ms),
        "disputed_at": _time_or_none(due.disputed_ms),
    }


def unreadable_payment_json(unreadable: UnreadablePayment) -> ops_answers.UnreadablePayment:
    """Return a payment event that could not be understood, its body as text and byte by byte."""
    return {
        "id": str(unreadable.id),
        "event": unreadable.event,
        "problem": unreadable.problem,
        "body": unreadable.body.decode(errors="replace"),
        "body_base64": base64.b64encode(unreadable.body).decode(),
        "deliveries": unreadable.deliveries,
        "received_at": rfc3339(unreadable.received_ms),
        "last_received_at": rfc3339(unreadable.last_received_ms),
        "settled_at": _time_or_none(unreadable.settled_ms),
    }


def _time_or_none(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def audit_json(found: Audit) -> ops_answers.Audit:
    """Return what an audit found."""
    return {
        "exam": found.exam,
        "clean": found.is_clean,
        "checked": found.checked,
        "quotas": found.quotas,
        "differences": [
            {
                "promise": difference.promise,
                "place": difference.place,
                "expected": difference.expected,
                "found": difference.found,
            }
            for difference in found.differences
        ],
    }


def exam_json(exam: Exam) -> dict[str, Any]:
    """Return an exam but for the server's time; seats are told by its availability."""
    document = exam_document(replace(exam, seats={}))
    del document["seats"]
    return document


def availability_change_json(
    change: AvailabilityChange, subjects: Sequence[str] | None
) -> answers.AvailabilityChange:
    """Return what changed, of all subjects or of some; venues with all only if they differ."""
    wanted = _wanted(change.after, subjects)
    document = _quotas_json(change.after, change.quotas, wanted)
    venues = change.after.venues_with_all(wanted)
    if change.before is None or change.before.venues_with_all(wanted) != venues:
        document["venues_with_all"] = venues
    return document


def _wanted(availability: Availability, subjects: Sequence[str] | None) -> Collection[str]:
    return availability.exam.session_of.keys() if subjects is None else set(subjects)


def _quotas_json(
    availability: Availability, quotas: Iterable[QuotaLeft], wanted: Collection[str]
) -> answers.AvailabilityChange:
    return {
        "exam": availability.exam.id,
        "version": availability.version,
        "revision": availability.exam.revision,
        "as_of": rfc3339(availability.as_of_ms),
        "quotas": [
            {
                "venue": quota.venue,
                "subject": quota.subject,
                "remaining": quota.remaining,
                "capacity": quota.capacity,
            }
            for quota in quotas
            if quota.subject in wanted
        ],
    }


def candidate_json(view: CandidateView) -> answers.CandidateView:
    """Return everything a candidate has in an exam."""
    return {
        "exam": view.exam,
        "candidate": view.candidate,
        "registered": view.is_registered,
        "refund_used": view.refund is not None,
        "refund": None if view.refund is None else refund_json(view.refund),
        "reservations": [
            {
                **reservation_json(v.reservation, v.payment),
                "history": [step_json(step) for step in v.history],
            }
            for v in view.reservations
        ],
    }


def refund_json(refund: RecordedRefund) -> answers.Refund:
    """Return the refund a candidate had."""
    return {
        "reservation": refund.reservation,
        "amount": refund.amount,
        "currency": refund.currency,
        "refunded_at": rfc3339(refund.refunded_ms),
        "settled_at": _time_or_none(refund.settled_ms),
    }


def step_json(step: Step) -> answers.Step:
    """Return one step of a reservation's history."""
    return {
        "at": rfc3339(step.at_ms),
        "step": step.verb,
        "state": step.state,
        "venue": step.venue,
        "key_id": step.key_id or None,
        "request_id": step.request_id or None,
    }


def imported_json(exam_id: str, imported: Imported) -> ops_answers.ImportResult:
    """Return what an import did."""
    return {
        "exam": exam_id,
        "created": imported.created,
        "changes": [
            {"where": change.where, "before": change.before, "after": change.after}
            for change in imported.changes
        ],
        "warnings": [
            {"where": warning.where, "detail": warning.detail} for warning in imported.warnings
        ],
    }


def joined(found: Joined) -> Response:
    """Return the answer to joining; a rank is for everybody to compute from the revealed seed."""
    ticket = found.ticket
    answer: room_answers.Ticket = {
        "exam": ticket.exam,
        "candidate": ticket.candidate,
        "kind": "draw" if ticket.is_for_draw else "number",
        "ticket": found.text,
        "number": None if ticket.is_for_draw else ticket.place,
        "rank": None,
        "poll_after": found.poll_after_s,
        "eta_s": None if found.eta_s is None else round(found.eta_s, 1),
        "issued_at": rfc3339(found.issued_ms),
    }
    return Response.json(answer, 201)


def room_json(document: PublicDocument) -> room_answers.WaitingRoom:
    """Return the public document of a waiting room."""
    return {
        "exam": document.exam,
        "phase": document.phase,
        "paused": document.is_paused,
        "threshold": document.threshold,
        "late_threshold": document.late_threshold,
        "serving": document.serving,
        "late_through": document.late_through,
        "rate": document.rate_per_s,
        "waiting": document.waiting,
        "poll_after": document.poll_after_s,
        "poll_after_max": document.poll_after_max_s,
        "seed_commitment": document.seed_commitment,
        "seed": document.seed,
        "opens_at": rfc3339(document.opens_at_ms),
        "claim_grace_s": document.claim_grace_s,
        "server_time": rfc3339(document.server_time_ms),
    }


def claimed(found: Claimed) -> Response:
    """Return the answer to a claim: a pass, which may have been given before."""
    answer: room_answers.Pass = {
        "pass": found.text,
        "candidate": found.granted.candidate,
        "exam": found.granted.exam,
        "expires_at": rfc3339(found.granted.expires_ms),
        "idle_s": found.idle_s,
    }
    return Response.json(answer, 200 if found.replayed else 201)


def finished_json(exam: str, candidate: str) -> room_answers.Finished:
    """Return that a candidate has no place (any more)."""
    return {"exam": exam, "candidate": candidate, "state": "finished"}


def steered_room_json(steered: SteeredRoom) -> ops_answers.SteeredRoom:
    """Return a waiting room as ops see it: the rate is the one in force, not smoothed."""
    room, survey = steered.room, steered.survey
    return {
        **room_json(steered.document),
        "rate": room.rate if room.fixed_rate is None else room.fixed_rate,
        "fixed_rate": room.fixed_rate,
        "places": None if survey is None else survey.places,
        "leader_epoch": room.leader_epoch,
        "signals": [] if survey is None else [_report_json(report) for report in survey.reports],
    }


def _report_json(report: Report) -> ops_answers.LoadReport:
    signals = report.signals
    return {
        "process": report.process,
        "age_s": report.age_s,
        "measures": None
        if signals is None
        else {
            "requests": signals.requests,
            "failures": signals.failures,
            "reserve_p99_ms": signals.reserve_p99_ms,
            "redis_p99_ms": signals.redis_p99_ms,
            "pool_wait_p99_ms": signals.pool_wait_p99_ms,
            "backlog": signals.backlog,
        },
    }
