"""Running the day: pausing an exam and resuming it."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import STRICT, Answer, ExamId, Id, Reader, Time, parse_object
from quota_service.api.pauses import Pause, pause_json
from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import Pause as WantedPause
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.pause import pause_exam, resume_exam
from quota_service.schema import Meaning, Reason, Whole, example

RETRY_AFTER_S = 60
"""Seconds after which those who are refused are asked to come again, where ops name none."""
RETRY_AFTER_MAX_S = 86_400


@with_config(STRICT)
class Pausing(TypedDict):
    """What to pause, and why; the whole exam where neither venue nor subject is named."""

    reason: Annotated[Reason, example("the payment provider is down; back at about 12:40")]
    """The public is told it word for word."""
    venue: NotRequired[Id]
    """Id of a venue."""
    subject: NotRequired[Id]
    """Id of a subject; with a venue too, their quota."""
    stops: NotRequired[
        Annotated[Literal["reserving", "changes"], Meaning("`reserving` or `changes`")]
    ]
    """`reserving` when omitted, or `changes`: reserving and changes of venue to it."""
    retry_after_s: NotRequired[Annotated[int, Whole(1, RETRY_AFTER_MAX_S), example(600)]]
    """Seconds after which those who are refused are to ask again; 60 when omitted."""


@with_config(STRICT)
class Resuming(TypedDict):
    """Which pause to end: the one of exactly this venue and subject."""

    venue: NotRequired[Id]
    """Id of the venue, as it was paused."""
    subject: NotRequired[Id]
    """Id of the subject, as it was paused."""
    reason: NotRequired[Reason]
    """Why; when omitted, that of the pause is kept with it."""


class PausedExam(Answer):
    """What of an exam is paused."""

    exam: ExamId
    pauses: Sequence[Pause]
    """All that is in force."""


class ResumedExam(PausedExam):
    """A pause that was ended."""

    resumed: Pause
    resumed_at: Time
    """When it was ended."""


PAUSING: Final = Reader(Pausing)
RESUMING: Final = Reader(Resuming)


async def post_pause(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/pause."""
    exam = request.params["exam"]
    await pause_exam(context.stores, exam, wanted_pause(PAUSING.read(parse_object(request.body))))
    return Response.json(_paused_json(context, exam))


async def post_resume(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/resume."""
    body = RESUMING.read(parse_object(request.body))
    exam, scope = request.params["exam"], (body.get("venue", ""), body.get("subject", ""))
    done = await resume_exam(context.stores, exam, *scope, body.get("reason", ""))
    answer: ResumedExam = {
        **_paused_json(context, exam),
        "resumed": pause_json(done.pause),
        "resumed_at": rfc3339(done.until_ms),
    }
    return Response.json(answer)


def wanted_pause(body: Pausing) -> WantedPause:
    """Return the pause that a body asks for."""
    return WantedPause(
        venue=body.get("venue", ""),
        subject=body.get("subject", ""),
        stops_changes=body.get("stops") == "changes",
        reason=body["reason"],
        retry_after_s=body.get("retry_after_s", RETRY_AFTER_S),
        since_ms=0,
    )


def _paused_json(context: ApiContext, exam: str) -> PausedExam:
    pauses = context.stores.registry.find(exam).pauses
    return {"exam": exam, "pauses": [pause_json(pause) for pause in pauses]}
