"""What is answered about a waiting room, as `answers` has the rest."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from quota_service.api.answers import Answer, Count, ExamId, Positive, Rank, Seconds, Time
from quota_service.schema import CandidateId
from quota_service.waiting_room.standing import Phase

PollAfter = Annotated[
    float,
    Field(
        ge=0,
        description="Seconds after which to ask again; it grows with the wait, and varies. Where "
        "all are told the same, each client adds a jitter of its own (half of it up or down), or "
        "all come back as one.",
    ),
]


class RoomMembers(Answer):
    """What everybody and ops are told of a waiting room."""

    exam: ExamId
    phase: Phase
    """`before`: nobody is let in; who joins takes part in the draw, or gets a number once an
    opening has come and was postponed. `draw`: the draw is let in, by rank; who joins gets a
    number. `queue`: numbers are let in. `closed`: registration is over."""
    paused: bool
    """Whether ops have stopped it for now."""
    threshold: Rank
    """Ranks up to this have had their turn."""
    late_threshold: Rank
    """Ranks up to this can be claimed no more."""
    serving: Count
    """Numbers up to this have had their turn."""
    late_through: Count
    """Numbers up to this can be claimed no more."""
    waiting: Count
    """Candidates who wait for their turn, about."""
    poll_after: PollAfter
    poll_after_max: Seconds
    """The longest that anybody needs to wait before asking."""
    seed_commitment: Rank
    """SHA-256 of the seed, known from the start."""
    seed: Rank | None
    """The seed of the draw; null until an opening has come."""
    opens_at: Time
    """When registration opens; the first opening to come closes the draw."""
    claim_grace_s: Positive
    """Seconds that a turn is honoured after it came."""
    server_time: Time
    """When this was made."""


class WaitingRoom(RoomMembers):
    """How far a waiting room has come: the same for everybody, made anew each second.

    A ticket for the draw has its turn when its rank is not above `threshold`, and a number when it
    is not above `serving`.
    """

    rate: Seconds
    """Candidates let in a second, smoothed."""


class Ticket(Answer):
    """A candidate's place in the order."""

    exam: ExamId
    candidate: CandidateId
    kind: Literal["draw", "number"]
    """In the draw, or with a number."""
    ticket: str
    """A signed text; keep it as it is."""
    number: Positive | None
    """The number; null in the draw."""
    rank: Rank | None
    """Null: the rank of a ticket for the draw is HMAC-SHA256, with the bytes of the seed as its
    key, of exam id and candidate id put together."""
    poll_after: PollAfter
    eta_s: Seconds | None
    """Seconds until the turn, about; null in the draw."""
    issued_at: Time
    """When it was answered."""


_Granted = TypedDict(
    "_Granted",
    {
        "pass": Annotated[
            str, Field(description="For Waiting-Room-Pass. A signed text; keep it as it is.")
        ]
    },
)


class Pass(Answer, _Granted):
    """What a candidate reserves with."""

    candidate: CandidateId
    exam: ExamId
    expires_at: Time
    """When the pass ends; where the opening is postponed before that, `pass_ttl_s` after the new
    one."""
    idle_s: Positive
    """Seconds without a reservation after which it ends earlier."""


class Finished(Answer):
    """A candidate without a place."""

    exam: ExamId
    candidate: CandidateId
    state: Literal["finished"]
    """What the candidate is."""
