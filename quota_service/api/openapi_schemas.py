"""The schemas of what the API answers, for the OpenAPI document, by component name."""

from collections.abc import Mapping

from quota_service.api import answers, ops_answers, room_answers
from quota_service.api.openapi_models import Schema, schema_of

_MODELS = {
    "Text": answers.Text,
    **{
        model.__name__: model
        for model in (
            answers.Exam,
            answers.ExamList,
            answers.Availability,
            answers.AvailabilityChange,
            answers.AvailabilityStale,
            answers.Payment,
            answers.Reservation,
            answers.CandidateView,
            answers.Refund,
            answers.PaymentResult,
            answers.Health,
            answers.ProblemMeaning,
            ops_answers.Archived,
            ops_answers.Audit,
            ops_answers.ImportResult,
            ops_answers.RefundDue,
            ops_answers.RefundsDue,
            ops_answers.UnreadablePayment,
            ops_answers.UnreadablePayments,
            ops_answers.SteeredRoom,
            room_answers.WaitingRoom,
            room_answers.Ticket,
            room_answers.Pass,
            room_answers.Finished,
        )
    },
}

ANSWER_SCHEMAS: Mapping[str, Schema] = {
    **{name: schema_of(model, _MODELS, is_answer=True) for name, model in _MODELS.items()},
    "AvailabilityEvent": {
        "description": "A server-sent event of the stream, once its lines are read.",
        "oneOf": [
            schema_of(event, is_answer=True)
            for event in (answers.Snapshot, answers.Change, answers.Stale)
        ],
    },
    "BookingsFile": {
        "type": "string",
        "description": "CSV (RFC 4180) in UTF-8 with a header line.",
    },
}
