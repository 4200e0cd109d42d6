"""The schemas of what the API answers, for the OpenAPI document, by component name."""

from collections.abc import Mapping

from quota_service.api import (
    availability,
    exams,
    health,
    ops,
    payments,
    problems,
    reservations,
    waiting_room,
)
from quota_service.api.openapi_models import Schema, schema_of

_MODELS = {
    "Text": exams.Text,
    **{
        model.__name__: model
        for model in (
            exams.Exam,
            exams.ExamList,
            availability.Availability,
            availability.AvailabilityChange,
            availability.AvailabilityStale,
            payments.Payment,
            reservations.Reservation,
            reservations.CandidateView,
            reservations.Refund,
            payments.PaymentResult,
            health.Health,
            problems.ProblemMeaning,
            exams.Archived,
            ops.Audit,
            exams.ImportResult,
            ops.RefundDue,
            ops.RefundsDue,
            ops.UnreadablePayment,
            ops.UnreadablePayments,
            waiting_room.SteeredRoom,
            waiting_room.WaitingRoom,
            waiting_room.Ticket,
            waiting_room.Pass,
            waiting_room.Finished,
        )
    },
}

ANSWER_SCHEMAS: Mapping[str, Schema] = {
    **{name: schema_of(model, _MODELS, is_answer=True) for name, model in _MODELS.items()},
    "AvailabilityEvent": {
        "description": "A server-sent event of the stream, once its lines are read.",
        "oneOf": [
            schema_of(event, is_answer=True)
            for event in (availability.Snapshot, availability.Change, availability.Stale)
        ],
    },
    "BookingsFile": {
        "type": "string",
        "description": "CSV (RFC 4180) in UTF-8 with a header line.",
    },
}
