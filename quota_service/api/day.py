"""Running the day: pausing an exam and resuming it, and extending holds."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import (
    STRICT,
    Answer,
    Count,
    ExamId,
    Id,
    Positive,
    Reader,
    ReservationId,
    Time,
    parse_object,
)
from quota_service.api.pauses import Pause, pause_json
from quota_service.api.reservations import idempotency_key
from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import Pause as WantedPause
from quota_service.domain.extension import MAX_EXTENSION_S, Extended
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.extend_holds import extend_holds
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
    extend_holds: NotRequired[
        Annotated[bool, Field(strict=True), Meaning("true or false"), example(True)]
    ]
    """Whether the deadlines of the live holds of this venue and subject move out by as long as the
    pause lasted; false when omitted."""
    reason: NotRequired[Reason]
    """Why; when omitted, that of the pause is kept with it."""


@with_config(STRICT)
class Extending(TypedDict):
    """Which holds to extend, by how much, and why; all of the exam where nothing is named."""

    seconds: Annotated[int, Whole(1, MAX_EXTENSION_S), example(1800)]
    """By how many seconds their deadlines move out."""
    reason: Reason
    venue: NotRequired[Id]
    """Id of a venue."""
    subject: NotRequired[Id]
    """Id of a subject."""
    reservation: NotRequired[ReservationId]
    """The only one to extend, if it is of the venue and subject."""


class ExtensionMade(Answer):
    """An extension of holds."""

    id: Annotated[str, example("7")]
    """Id of the extension."""
    ms: Annotated[Positive, example(1_800_000)]
    """By how many milliseconds deadlines move out, at most: none beyond its first sitting."""
    extended: Count
    """How many holds were extended; 0 until it is done."""
    done: Annotated[bool, example(True)]
    """Whether it is done; if not, a worker goes on with it."""


class ExtendedHolds(Answer):
    """What was extended."""

    exam: ExamId
    extension: ExtensionMade


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
    extension: ExtensionMade | None
    """Of the holds of its scope; null where none was asked for."""


async def post_pause(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/pause."""
    exam = request.params["exam"]
    await pause_exam(context.stores, exam, wanted_pause(PAUSING.read(parse_object(request.body))))
    return Response.json(_paused_json(context, exam))


async def post_resume(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/resume."""
    body = RESUMING.read(parse_object(request.body))
    exam, scope = request.params["exam"], (body.get("venue", ""), body.get("subject", ""))
    done = await resume_exam(
        context.stores.maintenance,
        exam,
        *scope,
        body.get("reason", ""),
        extend_holds=body.get("extend_holds", False),
    )
    answer: ResumedExam = {
        **_paused_json(context, exam),
        "resumed": pause_json(done.pause),
        "resumed_at": rfc3339(done.until_ms),
        "extension": None if done.extended is None else extension_json(done.extended),
    }
    return Response.json(answer)


async def post_extend_holds(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/extend-holds."""
    body = EXTENDING.read(parse_object(request.body))
    exam = request.params["exam"]
    has_key = "Idempotency-Key" in request.headers
    extended = await extend_holds(
        context.stores.maintenance,
        exam,
        body.get("venue", ""),
        body.get("subject", ""),
        body.get("reservation", ""),
        body["seconds"],
        body["reason"],
        idempotency_key(request.headers) if has_key else "",
    )
    answer: ExtendedHolds = {"exam": exam, "extension": extension_json(extended)}
    replayed = (("Idempotency-Replayed", "true"),) if extended.is_repeat else ()
    return Response.json(answer, headers=replayed)


def extension_json(extended: Extended) -> ExtensionMade:
    """Return an extension as it is answered."""
    return {
        "id": str(extended.number),
        "ms": extended.ms,
        "extended": extended.extended,
        "done": extended.is_done,
    }


PAUSING: Final = Reader(Pausing)
RESUMING: Final = Reader(Resuming)
EXTENDING: Final = Reader(Extending)


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
