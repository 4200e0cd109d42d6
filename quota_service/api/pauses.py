"""What is paused, as it is told to the public: beside an exam, its seats, and in refusals."""

from typing import Annotated, Literal

from pydantic import WithJsonSchema

from quota_service.api.models import Answer, Positive, Time
from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import Pause as PauseInForce
from quota_service.schema import Identifier, Reason, example

_NamedOrAll = WithJsonSchema({"type": ["string", "null"]})


class Scope(Answer):
    """What of an exam is meant: all of it where neither is named, a quota where both are."""

    venue: Annotated[Identifier | None, _NamedOrAll, example(None)]
    """Id of the venue; null for every venue."""
    subject: Annotated[Identifier | None, _NamedOrAll, example(None)]
    """Id of the subject; null for every subject."""


class Pause(Answer):
    """What ops have paused, and why."""

    scope: Scope
    stops: Annotated[Literal["reserving", "changes"], example("reserving")]
    """`reserving`, or `changes`: reserving and changes of venue to it."""
    reason: Annotated[Reason, example("the payment provider is down; back at about 12:40")]
    """Why, for the public."""
    since: Time
    """After it no order of a candidate is taken, until it is resumed."""
    retry_after_s: Annotated[Positive, example(60)]
    """Seconds after which to ask again."""


def scope_json(venue: str, subject: str) -> Scope:
    """Return a scope as it is answered."""
    return {"venue": venue or None, "subject": subject or None}


def pause_json(pause: PauseInForce) -> Pause:
    """Return a pause as it is answered."""
    return {
        "scope": scope_json(pause.venue, pause.subject),
        "stops": "changes" if pause.stops_changes else "reserving",
        "reason": pause.reason,
        "since": rfc3339(pause.since_ms),
        "retry_after_s": pause.retry_after_s,
    }
