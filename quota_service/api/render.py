"""Turns what the protocols return into the JSON of the contract."""

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from quota_service.api.times import rfc3339
from quota_service.domain.definition import exam_document
from quota_service.domain.exam import Exam
from quota_service.domain.payment import PaymentResult, RecordedPayment
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.availability import Availability
from quota_service.registration.import_exam import Imported
from quota_service.registration.view import CandidateView


def json_response(document: Any, status: int = 200, **headers: str) -> web.Response:
    """Return a JSON answer; header names take `_` for `-`."""
    response = web.Response(
        body=orjson.dumps(document), status=status, content_type="application/json"
    )
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def reservation_json(
    reservation: Reservation, payment: RecordedPayment | None = None
) -> dict[str, Any]:
    """Return a reservation; a confirmed one has no deadline any more."""
    is_confirmed = reservation.state is State.CONFIRMED
    return {
        "id": reservation.id,
        "exam": reservation.exam,
        "candidate": reservation.candidate,
        "venue": reservation.venue,
        "subjects": reservation.subjects,
        "state": reservation.state,
        "amount": reservation.amount,
        "currency": reservation.currency,
        "deadline": None if is_confirmed else rfc3339(reservation.deadline_ms),
        "created_at": rfc3339(reservation.created_ms),
        "payment": payment and payment_json(payment),
    }


def payment_json(payment: RecordedPayment) -> dict[str, Any]:
    """Return a recorded payment."""
    return {
        "status": payment.status,
        "outcome": payment.outcome,
        "reason": payment.reason,
        "amount": payment.amount,
        "currency": payment.currency,
        "paid_at": rfc3339(payment.paid_at_ms),
        "provider_reference": payment.provider_reference,
    }


def payment_result_json(result: PaymentResult) -> dict[str, Any]:
    """Return how a callback ended; a refund says why."""
    answer: dict[str, Any] = {"outcome": result.outcome, "reservation": result.reservation}
    if result.reason is not None:
        answer["reason"] = result.reason
    return answer


def exam_json(exam: Exam, now_ms: int) -> dict[str, Any]:
    """Return an exam with the server's time; seats are told by its availability."""
    document = exam_document(exam)
    del document["seats"]
    return {**document, "server_time": rfc3339(now_ms)}


def availability_json(availability: Availability, subjects: Sequence[str] | None) -> dict[str, Any]:
    """Return an availability, of all subjects or of some."""
    wanted = availability.exam.session_of.keys() if subjects is None else set(subjects)
    return {
        "exam": availability.exam.id,
        "version": availability.version,
        "as_of": rfc3339(availability.as_of_ms),
        "quotas": [
            {
                "venue": quota.venue,
                "subject": quota.subject,
                "remaining": quota.remaining,
                "capacity": quota.capacity,
            }
            for quota in availability.quotas
            if quota.subject in wanted
        ],
        "venues_with_all": availability.venues_with_all(wanted),
    }


def candidate_json(view: CandidateView) -> dict[str, Any]:
    """Return everything a candidate has in an exam."""
    return {
        "exam": view.exam,
        "candidate": view.candidate,
        "registered": view.is_registered,
        "refund_used": view.refund_used,
        "reservations": [reservation_json(v.reservation, v.payment) for v in view.reservations],
    }


def imported_json(exam_id: str, imported: Imported) -> dict[str, Any]:
    """Return what an import did."""
    return {
        "exam": exam_id,
        "created": imported.created,
        "changes": [
            {"where": change.where, "before": change.before, "after": change.after}
            for change in imported.changes
        ],
    }
